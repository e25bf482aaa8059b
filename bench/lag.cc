// lag: how long after a commit the store has it, and how many commits a second can wait for that,
// with a round trip injected before every request.

#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "bench/slow_store.h"
#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

using std::chrono::milliseconds;

std::shared_ptr<SlowStore> StoreFor(const Scratch& scratch) {
  return std::make_shared<SlowStore>(DirectoryStoreAt(scratch.File("replica")), milliseconds(0));
}

// A paced writer; a poller notes when the store has each commit. With one writer and no overload
// each commit is one TXID, so the n-th commit after a sync is that sync's TXID + n.
void Lag(const Arguments& arguments, int round_trip_ms, int interval_ms) {
  const std::string name = fmt::format("lag.rtt_{}ms.interval_{}ms", round_trip_ms, interval_ms);
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  App app(scratch.File("app.db"));
  Inserter inserter(app.db());
  inserter.Commit();
  auto store = StoreFor(scratch);
  ShipOptions options;
  options.interval = milliseconds(interval_ms);
  app.Ship(store, options);
  Txid before;
  Must(app.engine()->Sync(std::chrono::minutes(1), &before), "sync");
  store->SetRoundTrip(milliseconds(round_trip_ms));

  const int commits = arguments.quick ? 100 : interval_ms > 0 ? 2000 : 1000;
  std::vector<double> committed(static_cast<size_t>(commits));
  std::vector<double> acknowledged(static_cast<size_t>(commits));
  std::thread poller([&] {
    size_t done = 0;
    while (done < acknowledged.size()) {
      const size_t now_done = std::min(
          acknowledged.size(),
          static_cast<size_t>(app.engine()->GetStatus(false).shipped_txid.value - before.value));
      const double at = Now();
      for (; done < now_done; ++done) {
        acknowledged[done] = at;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  constexpr double kPerSecond = 250;
  const double begin = Now();
  for (size_t i = 0; i < committed.size(); ++i) {
    const double wait = begin + static_cast<double>(i) / kPerSecond - Now();
    if (wait > 0) {
      std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    }
    inserter.Commit();
    committed[i] = Now();
  }
  poller.join();

  std::vector<double> lags;
  for (size_t i = 0; i < committed.size(); ++i) {
    lags.push_back((acknowledged[i] - committed[i]) * 1e3);
  }
  for (const auto& [label, q] : {std::pair{".p50", 0.5}, std::pair{".p99", 0.99}}) {
    Figure f{.name = name + label, .unit = "ms"};
    f.ours = Quantile(lags, q);
    if (round_trip_ms > 0) {
      f.baseline = round_trip_ms;  // what no one can beat
    }
    f.runs = commits;
    Print(f);
  }
}

// Threads with a connection each, durability=commit; against one commit per round trip and thread.
void Durable(const Arguments& arguments, int round_trip_ms, int threads) {
  const std::string name = fmt::format("durable.rtt_{}ms.threads_{}", round_trip_ms, threads);
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  App app(scratch.File("app.db"));
  { Inserter make_table(app.db()); }
  auto store = StoreFor(scratch);
  ShipOptions options;
  options.durability = CommitDurability::kCommit;
  app.Ship(store, options);
  app.Sync();
  store->SetRoundTrip(milliseconds(round_trip_ms));

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> commits{0};
  std::vector<Connection> connections;
  for (int i = 0; i < threads; ++i) {
    connections.push_back(app.Another());
  }
  std::vector<std::thread> writers;
  const double begin = Now();
  for (Connection& connection : connections) {
    writers.emplace_back([&] {
      Inserter inserter(connection.get());
      while (!stop) {
        inserter.Commit();
        ++commits;
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(arguments.Duration(0.3, 4, 20)));
  stop = true;
  for (std::thread& writer : writers) {
    writer.join();
  }
  Figure f{.name = name, .unit = "commits/s"};
  f.ours = static_cast<double>(commits) / (Now() - begin);
  if (round_trip_ms > 0) {
    f.baseline = 1000.0 * threads / round_trip_ms;
  }
  const uint64_t timeouts = app.engine()->GetStatus(false).commit_timeouts;
  if (timeouts > 0) {
    Die(fmt::format("{} durable commits timed out", timeouts));
  }
  Print(f);
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  for (int interval_ms : {0, 1000}) {
    for (int round_trip_ms : {0, 5, 20}) {
      Lag(arguments, round_trip_ms, interval_ms);
    }
  }
  for (int threads : {1, 16}) {
    for (int round_trip_ms : {0, 5, 20}) {
      Durable(arguments, round_trip_ms, threads);
    }
  }
  return 0;
}
