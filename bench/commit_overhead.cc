// commit_overhead: what shipping costs the committing thread. The same single-row INSERT loop with
// and without the engine, in two processes that take turns on the same disk.

#include <fmt/format.h>

#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

enum Request { kBlock, kPaced };

// One side: a block of commits, full speed or paced. What the engine still has to do when a block
// ends is waited for outside the measured time, and told.
Child::Handler MakeSide(const Scratch& scratch, bool with, const std::string& synchronous) {
  const std::string name = synchronous + (with ? "-with" : "-without");
  auto app = std::make_shared<App>(scratch.File(name + ".db"), synchronous);
  auto inserter = std::make_shared<Inserter>(app->db());
  for (int i = 0; i < 1000; ++i) {
    inserter->Commit();
  }
  if (with) {
    app->Ship(DirectoryStoreAt(scratch.File(name + "-replica")));
  }
  return [app, inserter](int what, double n) -> std::vector<double> {
    const int commits = static_cast<int>(n);
    std::vector<double> latencies;
    latencies.reserve(static_cast<size_t>(commits));
    const double cpu0 = ThreadSeconds();
    const double t0 = Now();
    if (what == kBlock) {
      for (int i = 0; i < commits; ++i) {
        inserter->Commit();
      }
    } else {
      constexpr double kPerSecond = 5000;
      for (int i = 0; i < commits; ++i) {
        while (Now() < t0 + i / kPerSecond) {
        }
        const double begin = Now();
        inserter->Commit();
        latencies.push_back(Now() - begin);
      }
    }
    const double seconds = Now() - t0;
    const double cpu = ThreadSeconds() - cpu0;
    app->Sync();
    const double drained = Now() - t0 - seconds;
    const double p99 = latencies.empty() ? 0 : Quantile(latencies, 0.99);
    const double p50 = latencies.empty() ? 0 : Quantile(latencies, 0.5);
    return {seconds, cpu, drained, p99, p50};
  };
}

struct Sides {
  Sides(const Scratch& scratch, const std::string& synchronous)
      : with([&] { return MakeSide(scratch, true, synchronous); }),
        without([&] { return MakeSide(scratch, false, synchronous); }) {}
  Child with;
  Child without;

  // The order within a pair changes from pair to pair, so that whoever comes second pays in turn.
  template <typename Add>
  void Alternate(int pairs, int what, double n, Add add) {
    (void)with.Ask(what, n);  // warm up
    (void)without.Ask(what, n);
    for (int i = 0; i < pairs; ++i) {
      std::vector<double> a;
      std::vector<double> b;
      if (i % 2 == 0) {
        a = with.Ask(what, n);
        b = without.Ask(what, n);
      } else {
        b = without.Ask(what, n);
        a = with.Ask(what, n);
      }
      add(a, b);
    }
  }
};

void Throughput(const Arguments& arguments, const std::string& synchronous, double commits,
                double target) {
  const std::string name = "commit_overhead." + synchronous;
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  Sides sides(scratch, synchronous);
  Pairs rate;
  Pairs cpu;
  std::vector<double> drained;
  sides.Alternate(arguments.Pairs(synchronous == "NORMAL" ? 100 : 60), kBlock, commits,
                  [&](const std::vector<double>& a, const std::vector<double>& b) {
                    rate.Add(commits / a[0], commits / b[0]);
                    cpu.Add(a[1] / commits * 1e6, b[1] / commits * 1e6);
                    drained.push_back(a[2] / a[0]);
                  });
  Print(rate.ToFigure(name, "commits/s", Goal::kRatioAtLeast, target));
  Print(cpu.ToFigure(name + ".cpu", "us of the committing thread per commit"));
  Figure drain{.name = name + ".drain", .unit = "block times until all is in the store"};
  drain.ours = Quantile(drained, 0.5);
  drain.runs = static_cast<int>(drained.size());
  drain.iqr = {Quantile(drained, 0.25), Quantile(drained, 0.75)};
  Print(drain);
}

void Latency(const Arguments& arguments) {
  const std::string name = "commit_overhead.latency_p99_at_5000";
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  Sides sides(scratch, "NORMAL");
  Pairs p99;
  Pairs p50;
  sides.Alternate(arguments.Pairs(30), kPaced, arguments.quick ? 1000 : 5000,
                  [&](const std::vector<double>& a, const std::vector<double>& b) {
                    p99.Add(a[3] * 1e6, b[3] * 1e6);
                    p50.Add(a[4] * 1e6, b[4] * 1e6);
                  });
  Print(p99.ToFigure(name, "us", Goal::kRatioAtMost, 1.1));
  Print(p50.ToFigure("commit_overhead.latency_p50_at_5000", "us"));
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  Throughput(arguments, "NORMAL", arguments.quick ? 1000 : 10'000, 0.85);
  // Several checkpoints in each block: shorter ones measure who was lucky.
  Throughput(arguments, "FULL", arguments.quick ? 20 : 4000, 0.97);
  Latency(arguments);
  return 0;
}
