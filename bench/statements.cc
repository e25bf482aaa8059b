// statements: what recording SQL costs the committing program, what it adds to the replica, and how
// fast a restore executes it again. Transactions of the last two are those of an order-entry
// business as TPC-C describes it: new order, payment, delivery, order status, stock level.

#include <fmt/format.h>

#include <filesystem>
#include <random>
#include <string_view>

#include "agent/hook/sqlite_s3.hpp"
#include "bench/indexed_table.h"
#include "bench/order_entry.h"
#include "bench/support.h"
#include "common/format/keys.h"
#include "common/format/statements.h"
#include "common/replica/replica.h"
#include "restore/restorer.h"

namespace sqlite_s3::bench {
namespace {

constexpr int kLong = 600'000;  // milliseconds

void MustHook(int code) {
  if (code != SQLITE_S3_OK) {
    Die(sqlite_s3_errmsg());
  }
}

// --- throughput ----------------------------------------------------------------------------------

// A row with 100 bytes per commit: as most programs would write it, and through the wrapper.
class Writer {
 public:
  Writer(sqlite3* db, const std::string& how) : how_(how) {
    Must(sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body BLOB)",
                      nullptr, nullptr, nullptr) == SQLITE_OK
             ? Status::Ok()
             : InternalError(sqlite3_errmsg(db)),
         "create");
    insert_.emplace(db, "INSERT INTO t(body) VALUES(?1)");
  }
  void Commit() {
    for (char& c : body_) {
      c = static_cast<char>('a' + random_() % 26);
    }
    if (how_ == "exact") {
      insert_->BindBlob(1, body_);
      insert_->Run();
      return;
    }
    sqlite3_stmt* insert = insert_->get();
    const auto size = static_cast<int>(body_.size());
    if (how_ == "blob") {
      sqlite3_bind_blob(insert, 1, body_.data(), size, SQLITE_STATIC);
    } else {
      sqlite3_bind_text(insert, 1, body_.data(), size, SQLITE_STATIC);
    }
    if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK) {
      Die(sqlite3_errmsg(sqlite3_db_handle(insert)));
    }
  }

 private:
  const std::string how_;
  std::minstd_rand random_{1};
  std::string body_ = std::string(100, 'a');
  std::optional<BoundStatement> insert_;
};

Child::Handler MakeSide(const Scratch& scratch, const std::string& level, const std::string& how) {
  auto app = std::make_shared<App>(scratch.File(level + ".db"), "NORMAL");
  auto writer = std::make_shared<Writer>(app->db(), how);
  sqlite_s3_handle* handle = nullptr;
  const std::string url = "file://" + scratch.File(level + "-replica");
  MustHook(
      sqlite_s3_open_connection(app->db(), url.c_str(), ("statements=" + level).c_str(), &handle));
  MustHook(sqlite_s3_sync(handle, kLong, nullptr));
  return [app, writer, handle](int, double n) -> std::vector<double> {
    const double t0 = Now();
    const double cpu = ThreadSeconds();
    for (int i = 0; i < static_cast<int>(n); ++i) {
      writer->Commit();
    }
    const double seconds = Now() - t0;
    const double cpu_seconds = ThreadSeconds() - cpu;
    MustHook(sqlite_s3_sync(handle, kLong, nullptr));
    return {seconds, cpu_seconds};
  };
}

// Commits per second of the program, and per second of its own thread's CPU time: the latter does
// not depend on who else has the machine.
void Throughput(const Arguments& arguments, const std::string& level, const std::string& how,
                double target) {
  const std::string name = fmt::format("statements.{}.{}", level, how);
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  Child with([&] { return MakeSide(scratch, level, how); });
  Child without([&] { return MakeSide(scratch, "off", how); });
  const double commits = arguments.quick ? 500 : 10'000;
  (void)with.Ask(0, commits);  // warm up
  (void)without.Ask(0, commits);
  Pairs rate;
  Pairs cpu;
  for (int i = 0; i < arguments.Pairs(60); ++i) {
    std::vector<double> a;
    std::vector<double> b;
    for (const bool first : {true, false}) {
      if (first == (i % 2 == 0)) {
        a = with.Ask(0, commits);
      } else {
        b = without.Ask(0, commits);
      }
    }
    rate.Add(commits / a[0], commits / b[0]);
    cpu.Add(commits / a[1], commits / b[1]);
  }
  const Goal goal = target > 0 ? Goal::kRatioAtLeast : Goal::kNone;
  Print(rate.ToFigure(name, "commits/s, without statements", goal, target));
  Print(cpu.ToFigure(name + ".cpu", "commits/s of its thread's CPU time, without statements", goal,
                     target));
}

// --- bytes ---------------------------------------------------------------------------------------

void CountBytes(const std::string& directory, Figure* statements, Figure* others);

// What statements add to docs/FORMAT.md's workloads, ten commits in a segment.
void Bytes(const Arguments& arguments, const std::string& level, const std::string& kind) {
  const std::string name = fmt::format("statements.bytes.{}.{}", kind, level);
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  App app(scratch.File("app.db"), "OFF");
  IndexedTable table(app.db(), arguments.quick ? 2000 : 100'000);
  sqlite_s3_handle* handle = nullptr;
  MustHook(sqlite_s3_open_connection(
      app.db(), ("file://" + scratch.File("replica")).c_str(),
      ("interval=1h,image_log_percent=0,statements=" + level).c_str(), &handle));
  MustHook(sqlite_s3_sync(handle, kLong, nullptr));
  for (int segment = 0; segment < (arguments.quick ? 20 : 300); ++segment) {
    for (int i = 0; i < 10; ++i) {
      kind == "insert" ? table.Insert() : table.Update();
    }
    MustHook(sqlite_s3_sync(handle, kLong, nullptr));
  }
  MustHook(sqlite_s3_detach(app.db()));
  MustHook(sqlite_s3_close(handle, kLong));
  Figure figure{.name = name, .unit = "bytes of statements per commit, against the other bytes"};
  Figure others;
  CountBytes(scratch.File("replica"), &figure, &others);
  figure.baseline = others.ours;
  Print(figure);
}

struct Took {
  double seconds = 0, cpu_seconds = 0;
};

Took RunBusiness(sqlite3* db, int transactions) {
  OrderEntry business(db);
  std::mt19937_64 random(42);
  const double begin = Now();
  const double cpu = ThreadSeconds();
  for (int i = 0; i < transactions; ++i) {
    business.Transaction(random);
  }
  return {Now() - begin, ThreadSeconds() - cpu};
}

void CountBytes(const std::string& directory, Figure* statements, Figure* others) {
  auto store = DirectoryStoreAt(directory);
  double commits = 0;
  Txid next{1};
  while (true) {
    const std::string key = keys::LogSegment(TimelineId{1}, next);
    auto bytes = store->Get(key, kMaxSegmentBytes);
    if (!bytes.ok()) {
      break;
    }
    const Segment segment = Must(ParseSegment(std::move(*bytes), key), key);
    statements->ours += static_cast<double>(segment.statements.size());
    others->ours += static_cast<double>(segment.object_size_bytes - segment.statements.size());
    commits += segment.header.commit_count;
    next = segment.header.last_txid().Next();
  }
  statements->ours /= commits;
  others->ours /= commits;
}

void Replay(const Arguments& arguments) {
  const std::string name = "statements.replay";
  if (!arguments.Wants(name)) {
    return;
  }
  const int transactions = arguments.quick ? 300 : 20'000;
  Pairs pairs;
  Pairs cpu;
  Figure statement_bytes{.name = "statements.bytes", .unit = "bytes of statements per commit"};
  Figure page_bytes{.name = "statements.page_bytes", .unit = "other bytes of the log per commit"};
  Figure by_pages{.name = "statements.by_pages", .unit = "commits that took their pages"};
  Figure fetch{.name = "statements.fetch", .unit = "s fetching, in a restore by statements"};
  const int runs = arguments.quick ? 1 : arguments.pairs > 0 ? arguments.pairs : 3;
  for (int i = 0; i < runs; ++i) {
    Scratch scratch;
    const std::string base = scratch.File("app.db");
    {
      App app(base, "OFF");
      OrderEntry(app.db()).Create();
    }
    const std::string first = scratch.File("first.db");
    std::filesystem::copy_file(base, first);
    Took first_run;
    {
      App app(first, "OFF");  // no shipping, no statements, no sync
      first_run = RunBusiness(app.db(), transactions);
    }
    {
      App app(base, "OFF");
      sqlite_s3_handle* handle = nullptr;
      const std::string url = "file://" + scratch.File("replica");
      MustHook(sqlite_s3_open_connection(
          app.db(), url.c_str(),
          "statements=values,memory=256MiB,image_log_percent=0,image_interval=0", &handle));
      MustHook(sqlite_s3_sync(handle, kLong, nullptr));
      (void)RunBusiness(app.db(), transactions);
      MustHook(sqlite_s3_sync(handle, kLong, nullptr));
      MustHook(sqlite_s3_detach(app.db()));
      MustHook(sqlite_s3_close(handle, kLong));
    }
    auto store = DirectoryStoreAt(scratch.File("replica"));
    Replica replica(*store);
    Must(replica.Open(), "open");
    // From the beginning: an image may have been made on the way.
    Progress progress(false);
    RestoreOptions options;
    options.output = scratch.File("restored.db");
    options.via = RestoreVia::kSql;
    Damage damage;
    const double cpu_before = ThreadSeconds();
    const RestoreReport report = Must(Restorer(replica, options, progress).Run(&damage), "restore");
    const double cpu_seconds = ThreadSeconds() - cpu_before;
    const double share = static_cast<double>(report.commits_applied) /
                         static_cast<double>(report.plan.txid.value - 1);
    pairs.Add(transactions * share / report.replay_seconds, transactions / first_run.seconds);
    cpu.Add(transactions * share / cpu_seconds, transactions / first_run.cpu_seconds);
    by_pages.ours = static_cast<double>(report.commits_by_pages);
    fetch.ours = report.fetch_seconds;
    statement_bytes.ours = page_bytes.ours = 0;
    CountBytes(scratch.File("replica"), &statement_bytes, &page_bytes);
  }
  Print(pairs.ToFigure(name, "transactions/s, against the first run without sync",
                       Goal::kRatioAtLeast, 1.0));
  Print(cpu.ToFigure(name + ".cpu",
                     "transactions/s of the whole restore's CPU time, against the first run's",
                     Goal::kRatioAtLeast, 1.0));
  Print(statement_bytes);
  Print(page_bytes);
  Print(by_pages);
  Print(fetch);
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  for (const char* how : {"text", "blob", "exact"}) {
    Throughput(arguments, "text", how, 0.92);
    // SQLite prints a blob's bytes one by one; the wrapper does without.
    Throughput(arguments, "values", how, std::string_view(how) == "blob" ? 0 : 0.85);
  }
  for (const char* kind : {"insert", "update"}) {
    Bytes(arguments, "text", kind);
    Bytes(arguments, "values", kind);
  }
  Replay(arguments);
  return 0;
}
