#include "bench/support.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <thread>

namespace sqlite_s3::bench {
namespace {

double Clock(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

std::string Number(std::optional<double> v) { return v ? fmt::format("{:.6g}", *v) : "null"; }

}  // namespace

Arguments ParseArguments(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--quick") {
      a.quick = true;
    } else if (arg == "--long") {
      a.long_run = true;
    } else if (arg.starts_with("--pairs=")) {
      a.pairs = std::atoi(arg.c_str() + 8);
    } else if (arg.starts_with("--only=")) {
      a.only = arg.substr(7);
    } else {
      std::fprintf(stderr, "usage: %s [--quick] [--long] [--pairs=N] [--only=FIGURE]\n", argv[0]);
      std::exit(2);
    }
  }
  return a;
}

void Die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::_Exit(1);
}

void Must(const Status& status, const std::string& what) {
  if (!status.ok()) {
    Die(what + ": " + status.ToString());
  }
}

Scratch::Scratch() : owner_(getpid()) {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr && *base != '\0' ? base : "/tmp") + "/sqlite-s3-bench-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) {
    Die("cannot make a directory like " + path_);
  }
}

Scratch::~Scratch() {
  if (getpid() == owner_) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
}

double Now() { return Clock(CLOCK_MONOTONIC); }
double ThreadSeconds() { return Clock(CLOCK_THREAD_CPUTIME_ID); }
double ProcessSeconds() { return Clock(CLOCK_PROCESS_CPUTIME_ID); }

double Quantile(std::vector<double>& values, double q) {
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const size_t low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

void Print(const Figure& f) {
  std::optional<double> ratio = f.ratio;
  if (!ratio && f.baseline && *f.baseline != 0) {
    ratio = f.ours / *f.baseline;
  }
  std::string target = "null";
  std::string ok = "null";
  if (f.goal != Goal::kNone) {
    const bool at_least = f.goal == Goal::kRatioAtLeast || f.goal == Goal::kOursAtLeast;
    const bool of_ratio = f.goal == Goal::kRatioAtLeast || f.goal == Goal::kRatioAtMost;
    const double value = of_ratio ? ratio.value_or(0) : f.ours;
    target = fmt::format("\"{} {} {:.6g}\"", of_ratio ? "ratio" : "ours",
                         at_least ? ">=" : "<=", f.target);
    ok = (at_least ? value >= f.target : value <= f.target) ? "true" : "false";
  }
  double load = 0;
  getloadavg(&load, 1);
  std::string iqr =
      f.iqr ? fmt::format("[{:.6g}, {:.6g}]", f.iqr->first, f.iqr->second) : std::string("null");
  fmt::print(
      R"({{"name": "{}", "unit": "{}", "ours": {}, "baseline": {}, "ratio": {}, "runs": {}, )"
      R"("iqr": {}, "target": {}, "ok": {}, "load": {:.2f}}})"
      "\n",
      f.name, f.unit, Number(f.ours), Number(f.baseline), Number(ratio), f.runs, iqr, target, ok,
      load);
  std::fflush(stdout);
}

Figure Pairs::ToFigure(const std::string& name, const std::string& unit, Goal goal,
                       double target) const {
  std::vector<double> ratios;
  for (size_t i = 0; i < ours.size(); ++i) {
    ratios.push_back(ours[i] / baseline[i]);
  }
  std::vector<double> a = ours;
  std::vector<double> b = baseline;
  Figure f{.name = name, .unit = unit};
  f.ours = Quantile(a, 0.5);
  f.baseline = Quantile(b, 0.5);
  f.ratio = Quantile(ratios, 0.5);
  f.iqr = {Quantile(ratios, 0.25), Quantile(ratios, 0.75)};
  f.runs = static_cast<int>(ours.size());
  f.goal = goal;
  f.target = target;
  return f;
}

App::App(const std::string& path, const std::string& synchronous)
    : path_(path), synchronous_(synchronous), db_(Another()) {}

Connection App::Another() {
  Connection c =
      Must(Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 10'000), "open");
  Must(c.Exec("PRAGMA journal_mode=WAL"), "journal_mode");
  Must(c.Exec(("PRAGMA synchronous=" + synchronous_).c_str()), "synchronous");
  if (engine_) {
    sqlite3_wal_hook(c.get(), &Hook, this);
    engine_->AttachConnection();
  }
  return c;
}

App::~App() {
  Stop();
  db_.Close();
}

int App::Hook(void* self, sqlite3*, const char* schema, int frames) {
  App* app = static_cast<App*>(self);
  if (std::strcmp(schema, "main") == 0) {
    app->last_frames_ = static_cast<uint32_t>(frames);
    app->engine_->OnCommit(static_cast<uint32_t>(frames));
  }
  return SQLITE_OK;
}

void App::Ship(std::shared_ptr<ObjectStore> store, const ShipOptions& options,
               bool wait_for_image) {
  EngineConfig config;
  config.database_path = path_;
  config.options = options;
  config.store = std::move(store);
  config.log = [](LogLevel level, const std::string& message) {
    if (level >= LogLevel::kWarning) {
      std::fprintf(stderr, "bench: engine: %s\n", message.c_str());
    }
  };
  engine_ = Must(Engine::Start(config), "start");
  engine_->AttachConnection();
  sqlite3_wal_hook(db_.get(), &Hook, this);
  if (wait_for_image) {
    WaitForImage();
  }
}

void App::WaitForImage() {
  while (!engine_->GetStatus(false).image_txid) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void App::Sync() {
  if (engine_) {
    Must(engine_->Sync(std::chrono::minutes(2), nullptr), "sync");
  }
}

void App::Stop(std::chrono::milliseconds timeout) {
  if (engine_) {
    sqlite3_wal_autocheckpoint(db_.get(), 1000);
    (void)engine_->Stop(timeout);  // a benchmark may end with its store away
    engine_.reset();
  }
}

Inserter::Inserter(sqlite3* db, uint32_t blob_bytes) : db_(db), blob_(blob_bytes) {
  if (sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, body BLOB)", nullptr,
                   nullptr, nullptr) != SQLITE_OK ||
      sqlite3_prepare_v2(db, "INSERT INTO t(body) VALUES(?1)", -1, &statement_, nullptr) !=
          SQLITE_OK) {
    Die(sqlite3_errmsg(db));
  }
}

Inserter::~Inserter() { sqlite3_finalize(statement_); }

void Inserter::Commit() {
  for (size_t i = 0; i + 8 <= blob_.size(); i += 8) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    std::memcpy(&blob_[i], &random_, 8);
  }
  sqlite3_bind_blob(statement_, 1, blob_.data(), static_cast<int>(blob_.size()), SQLITE_STATIC);
  const int stepped = sqlite3_step(statement_);
  if (sqlite3_reset(statement_) != SQLITE_OK || stepped != SQLITE_DONE) {
    Die(std::string("insert: ") + sqlite3_errmsg(db_));
  }
}

void FillDatabase(const std::string& path, uint64_t pages, double noise) {
  Connection db =
      Must(Connection::Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 1000), "open");
  Must(db.Exec("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
               "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB); BEGIN"),
       "create");
  sqlite3_stmt* insert = nullptr;
  sqlite3_prepare_v2(db.get(), "INSERT INTO t(body) VALUES(?1)", -1, &insert, nullptr);
  std::vector<uint64_t> body(4000 / 8);
  const size_t noisy = static_cast<size_t>(static_cast<double>(body.size()) * noise);
  uint64_t random = 88172645463325252;
  for (uint64_t page = 0; page < pages; ++page) {
    for (size_t i = 0; i < noisy; ++i) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      body[i] = random;
    }
    sqlite3_bind_blob(insert, 1, body.data(), 4000, SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK) {
      Die(sqlite3_errmsg(db.get()));
    }
  }
  sqlite3_finalize(insert);
  Must(db.Exec("COMMIT; PRAGMA journal_mode=WAL"), "wal");
}

}  // namespace sqlite_s3::bench
