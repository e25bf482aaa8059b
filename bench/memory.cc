// memory: what the library adds to the application's memory at its worst: while the first image of
// a large database is made, and while the store is away and the application writes at full speed.
// Two processes do the same work, one of them shipping; the figure is the difference of their
// peaks.

#include <fmt/format.h>

#include <fstream>
#include <thread>

#include "bench/slow_store.h"
#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

constexpr double kTargetMiB = 64;

double PeakResidentMiB() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) {
      return std::atof(line.c_str() + 6) / 1024;
    }
  }
  Die("no VmHWM in /proc/self/status");
}

enum Request { kImage, kStoreAway };

// `what`: kImage writes at a moderate pace until the image is complete (n seconds without one),
// kStoreAway writes at full speed for n seconds. Answers the peak, the seconds, and the commits.
Child::Handler MakeSide(const std::string& path, const std::string& replica) {
  auto app = std::make_shared<App>(path);
  auto inserter = std::make_shared<Inserter>(app->db());
  const bool with = !replica.empty();
  return [=](int what, double n) -> std::vector<double> {
    std::shared_ptr<SlowStore> store;
    if (with) {
      store = std::make_shared<SlowStore>(DirectoryStoreAt(replica), std::chrono::microseconds(0));
      app->Ship(store, {}, what == kStoreAway);
      store->SetAway(what == kStoreAway);
    }
    const double begin = Now();
    uint64_t commits = 0;
    if (what == kImage) {
      while (with ? !app->engine()->GetStatus(false).image_txid : Now() - begin < n) {
        inserter->Commit();
        ++commits;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } else {
      while (Now() - begin < n) {
        inserter->Commit();
        ++commits;
      }
    }
    const std::vector<double> answer{PeakResidentMiB(), Now() - begin,
                                     static_cast<double>(commits)};
    app->Stop(std::chrono::milliseconds(0));  // there is nothing to flush to
    return answer;
  };
}

void Compare(const Scratch& scratch, const std::string& name, const std::string& database,
             Request what, double seconds) {
  std::vector<double> ours;
  std::vector<double> plain;
  {
    Child with([&] { return MakeSide(database, scratch.File(name + "-replica")); });
    ours = with.Ask(what, seconds);
  }
  {
    Child without([&] { return MakeSide(database, ""); });
    plain = without.Ask(what, what == kImage ? ours[1] : seconds);
  }
  Figure f{.name = name, .unit = "MiB beyond the application's own"};
  f.ours = ours[0] - plain[0];
  f.baseline = plain[0];
  f.goal = Goal::kOursAtMost;
  f.target = kTargetMiB;
  Print(f);
  Figure rate{.name = name + ".rate", .unit = "commits/s meanwhile"};
  rate.ours = ours[2] / ours[1];
  rate.baseline = plain[2] / plain[1];
  Print(rate);
  if (what == kImage) {
    Figure seconds_used{.name = name + ".seconds", .unit = "s"};
    seconds_used.ours = ours[1];
    Print(seconds_used);
  }
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  if (arguments.Wants("memory.first_image")) {
    Scratch scratch;
    const uint64_t bytes = arguments.quick ? 8 << 20 : uint64_t{4} << 30;
    FillDatabase(scratch.File("large.db"), bytes / 4096, 0.75);
    Compare(scratch, "memory.first_image", scratch.File("large.db"), kImage, 0);
  }
  if (arguments.Wants("memory.store_away")) {
    Scratch scratch;
    Compare(scratch, "memory.store_away", scratch.File("app.db"), kStoreAway,
            arguments.Duration(0.3, 10, 60));
  }
  return 0;
}
