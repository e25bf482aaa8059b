// bytes_per_commit: what a commit costs in the bucket, whole objects counted, against the bytes of
// its frames in the WAL. The workloads of docs/FORMAT.md's measurements: a table of 100,000 rows
// with two secondary indexes, one insert or one single-column update by key per commit.

#include <fmt/format.h>

#include "bench/indexed_table.h"
#include "bench/support.h"
#include "common/format/keys.h"
#include "common/store/memory_store.h"

namespace sqlite_s3::bench {
namespace {

struct LogSize {
  uint64_t bytes = 0;
  uint64_t objects = 0;
};

LogSize Measure(ObjectStore& store) {
  LogSize size;
  for (const ObjectInfo& object : Must(ListAll(store, keys::LogPrefix({1})), "list")) {
    size.bytes += object.size_bytes;
    ++size.objects;
  }
  return size;
}

// The segment is cut by a waiter and by nothing else, so exactly `per_segment` commits share one.
void Measure(const Arguments& arguments, const std::string& kind, int per_segment, double target) {
  const std::string name = fmt::format("bytes_per_commit.{}.{}_per_segment", kind, per_segment);
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  App app(scratch.File("app.db"), "OFF");
  IndexedTable workload(app.db(), arguments.quick ? 2000 : 100'000);
  ShipOptions options;
  options.interval = std::chrono::hours(24);
  options.image_log_percent = 0;
  auto store = std::make_shared<MemoryStore>("bench");
  app.Ship(store, options);
  app.Sync();
  const LogSize before = Measure(*store);
  const uint64_t captured_before = app.engine()->GetStatus(true).bytes_captured;
  const int segments = arguments.quick ? 20 : per_segment == 1 ? 3000 : 1000;
  for (int s = 0; s < segments; ++s) {
    for (int i = 0; i < per_segment; ++i) {
      if (kind == "insert") {
        workload.Insert();
      } else {
        workload.Update();
      }
    }
    // All captured first: the worker could cut what it has when it sees the waiter.
    (void)app.engine()->GetStatus(true);
    app.Sync();
  }
  const LogSize after = Measure(*store);
  const EngineStatus status = app.engine()->GetStatus(true);
  if (after.objects - before.objects != static_cast<uint64_t>(segments)) {
    Die(fmt::format("{} segments instead of {}", after.objects - before.objects, segments));
  }
  const double commits = static_cast<double>(segments) * per_segment;
  Figure f{.name = name, .unit = "bytes"};
  f.ours = static_cast<double>(after.bytes - before.bytes) / commits;
  f.baseline = static_cast<double>(status.bytes_captured - captured_before) / commits;
  f.runs = static_cast<int>(commits);
  f.goal = Goal::kOursAtMost;
  f.target = target;
  Print(f);
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  Measure(arguments, "insert", 1, 470);
  Measure(arguments, "insert", 10, 280);
  Measure(arguments, "update", 10, 65);
  return 0;
}
