// bytes_per_commit: what a commit costs in the bucket, whole objects counted, against the bytes of
// its frames in the WAL. The workloads of docs/FORMAT.md's measurements: a table of 100,000 rows
// with two secondary indexes, one insert or one single-column update by key per commit.

#include <fmt/format.h>

#include <random>

#include "bench/support.h"
#include "common/format/keys.h"
#include "common/store/memory_store.h"

namespace sqlite_s3::bench {
namespace {

class Workload {
 public:
  Workload(sqlite3* db, int rows) : db_(db), rows_(rows) {
    Run("CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, k INT, v REAL, ts TEXT)");
    Run("CREATE INDEX i ON t(u)");
    Run("CREATE INDEX j ON t(k)");
    for (int i = 0; i < 5000; ++i) {
      std::string word(3 + random_() % 8, ' ');
      for (char& c : word) {
        c = static_cast<char>('a' + random_() % 26);
      }
      words_.push_back(word);
    }
    insert_ = Prepare("INSERT INTO t(u, k, v, ts) VALUES(?1, ?2, ?3, ?4)");
    update_ = Prepare("UPDATE t SET v=?1 WHERE id=?2");
    Run("BEGIN");
    for (int i = 0; i < rows; ++i) {
      Insert();
    }
    Run("COMMIT");
  }
  ~Workload() {
    sqlite3_finalize(insert_);
    sqlite3_finalize(update_);
  }
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  void Insert() {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      text += (i > 0 ? " " : "") + words_[random_() % words_.size()];
    }
    const std::string ts = fmt::format("2026-11-20T{:02}:{:02}", random_() % 24, random_() % 60);
    sqlite3_bind_text(insert_, 1, text.c_str(), -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(insert_, 2, static_cast<sqlite3_int64>(random_() % 1'000'000));
    sqlite3_bind_double(insert_, 3, Real());
    sqlite3_bind_text(insert_, 4, ts.c_str(), -1, SQLITE_TRANSIENT);
    Step(insert_);
  }
  void Update() {
    sqlite3_bind_double(update_, 1, Real());
    sqlite3_bind_int64(update_, 2,
                       static_cast<sqlite3_int64>(1 + random_() % static_cast<uint64_t>(rows_)));
    Step(update_);
  }

 private:
  double Real() { return std::uniform_real_distribution<double>()(random_); }
  void Run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
      Die(std::string(sql) + ": " + sqlite3_errmsg(db_));
    }
  }
  sqlite3_stmt* Prepare(const char* sql) {
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &s, nullptr) != SQLITE_OK) {
      Die(std::string(sql) + ": " + sqlite3_errmsg(db_));
    }
    return s;
  }
  void Step(sqlite3_stmt* s) {
    if (sqlite3_step(s) != SQLITE_DONE || sqlite3_reset(s) != SQLITE_OK) {
      Die(sqlite3_errmsg(db_));
    }
  }

  sqlite3* db_;
  const int rows_;
  std::mt19937_64 random_{1};
  std::vector<std::string> words_;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* update_ = nullptr;
};

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
  Workload workload(app.db(), arguments.quick ? 2000 : 100'000);
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
