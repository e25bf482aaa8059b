// wal_bound: a writer at full speed. How far the WAL grows beyond the checkpoint threshold, and how
// much longer than SQLite's own checkpoint ours holds the committing thread.

#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

constexpr uint32_t kThreshold = 1000;  // SQLite's default and ours
// No checkpoint is faster. The engine's hook does nothing at most commits beyond the threshold:
// they would hide the ones that are held.
constexpr double kLeastHoldMs = 0.05;

struct Hold {
  std::vector<double> ms;  // of each hook call that did something about a WAL at the threshold
  uint32_t max_frames = 0;
  Engine* engine = nullptr;
};

// Times what stands in the wal hook: SQLite's own checkpoint (as sqlite3_wal_autocheckpoint does
// it), or the engine.
int TimedHook(void* p, sqlite3* db, const char* schema, int frames) {
  Hold* hold = static_cast<Hold*>(p);
  const uint32_t n = static_cast<uint32_t>(frames);
  hold->max_frames = std::max(hold->max_frames, n);
  const double begin = Now();
  if (hold->engine != nullptr) {
    hold->engine->OnCommit(n);
  } else if (n >= kThreshold) {
    sqlite3_wal_checkpoint_v2(db, schema, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  }
  const double ms = (Now() - begin) * 1e3;
  if (n >= kThreshold && ms > kLeastHoldMs) {
    hold->ms.push_back(ms);
  }
  return SQLITE_OK;
}

// Writes for n seconds; answers the most frames, the rate, then each hold of the hook.
Child::Handler MakeSide(const Scratch& scratch, bool with) {
  const std::string name = with ? "with" : "without";
  auto app = std::make_shared<App>(scratch.File(name + ".db"));
  auto inserter = std::make_shared<Inserter>(app->db());
  inserter->Commit();
  if (with) {
    app->Ship(DirectoryStoreAt(scratch.File(name + "-replica")));
  }
  auto hold = std::make_shared<Hold>();
  hold->engine = app->engine();
  sqlite3_wal_hook(app->db(), &TimedHook, hold.get());
  return [app, inserter, hold](int, double n) -> std::vector<double> {
    hold->ms.clear();
    hold->max_frames = 0;
    uint64_t commits = 0;
    const double begin = Now();
    while (Now() - begin < n) {
      inserter->Commit();
      ++commits;
    }
    std::vector<double> answer{
        static_cast<double>(hold->max_frames), static_cast<double>(commits) / (Now() - begin),
        app->engine() != nullptr
            ? static_cast<double>(app->engine()->GetStatus(false).merged_commits)
            : 0};
    answer.insert(answer.end(), hold->ms.begin(), hold->ms.end());
    app->Sync();  // what is left must not run into the other side's turn
    return answer;
  };
}

void Run(const Arguments& arguments) {
  Scratch scratch;
  Child with([&] { return MakeSide(scratch, true); });
  Child without([&] { return MakeSide(scratch, false); });

  const double seconds = arguments.Duration(0.3, 10, 60);
  const std::vector<double> bound = with.Ask(0, seconds);
  const std::vector<double> plain = without.Ask(0, seconds);
  Figure frames{.name = "wal_bound.frames", .unit = "WAL frames at most / threshold"};
  frames.ours = bound[0] / kThreshold;
  frames.baseline = plain[0] / kThreshold;
  frames.goal = Goal::kOursAtMost;
  frames.target = 4;
  Print(frames);
  Figure merged{.name = "wal_bound.merged",
                .unit = "share of commits without an own restore point"};
  merged.ours = bound[2] / (bound[1] * seconds);
  Print(merged);

  Pairs sustained;
  std::vector<double> holds;
  std::vector<double> own;
  std::vector<double> beyond;  // at p99, round by round
  const int rounds = arguments.Pairs(10);
  for (int i = 0; i < rounds; ++i) {
    std::vector<double> a = with.Ask(0, arguments.quick ? 0.3 : 3);
    std::vector<double> b = without.Ask(0, arguments.quick ? 0.3 : 3);
    sustained.Add(a[1], b[1]);
    a.erase(a.begin(), a.begin() + 3);
    b.erase(b.begin(), b.begin() + 3);
    if (a.empty() || b.empty()) {
      continue;  // a machine so slow that no checkpoint came
    }
    holds.insert(holds.end(), a.begin(), a.end());
    own.insert(own.end(), b.begin(), b.end());
    beyond.push_back(Quantile(a, 0.99) - Quantile(b, 0.99));
  }
  Print(sustained.ToFigure("wal_bound.sustained", "commits/s"));
  if (beyond.empty()) {
    Die("no commit reached the checkpoint threshold");
  }
  Figure hold{.name = "wal_bound.hook_hold_p99", .unit = "ms"};
  hold.ours = Quantile(holds, 0.99);
  hold.baseline = Quantile(own, 0.99);
  hold.runs = static_cast<int>(holds.size());
  Print(hold);
  Figure median{.name = "wal_bound.hook_hold_p50", .unit = "ms"};
  median.ours = Quantile(holds, 0.5);
  median.baseline = Quantile(own, 0.5);
  median.runs = hold.runs;
  Print(median);
  Figure extra{.name = "wal_bound.hook_hold_p99_beyond_sqlite", .unit = "ms"};
  extra.ours = hold.ours - *hold.baseline;
  extra.runs = static_cast<int>(beyond.size());
  extra.iqr = {Quantile(beyond, 0.25), Quantile(beyond, 0.75)};
  extra.goal = Goal::kOursAtMost;
  extra.target = 20;
  Print(extra);
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  Run(ParseArguments(argc, argv));
  return 0;
}
