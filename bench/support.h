#pragma once
// What the benchmarks share: arguments, a scratch directory, an application with and without the
// engine, child processes to run the two sides in, and figures as JSON.
//
// A figure is a paired ratio from one run (A B A B ...): the machine's mood is in both halves.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/ship/engine.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3::bench {

struct Arguments {
  bool quick = false;     // a few seconds at most: does it run at all; the figures mean nothing
  bool long_run = false;  // the durations of the claims themselves
  int pairs = 0;          // 0: the benchmark's own number
  std::string only;       // figures whose name has this in it
  bool Wants(const std::string& name) const { return name.find(only) != std::string::npos; }
  int Pairs(int normal) const { return quick ? 2 : pairs > 0 ? pairs : normal; }
  double Duration(double quick_s, double normal_s, double long_s) const {
    return quick ? quick_s : long_run ? long_s : normal_s;
  }
};
// Exits with the usage for what it does not know.
Arguments ParseArguments(int argc, char** argv);

// Prints the error and exits with status 1: a benchmark has nothing to save.
[[noreturn]] void Die(const std::string& message);
void Must(const Status& status, const std::string& what);
template <typename T>
T Must(Result<T> result, const std::string& what) {
  Must(result.status(), what);
  return std::move(result).value();
}

// A directory under $TMPDIR (default /tmp), removed at the end by the process that made it.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  pid_t owner_;
};

double Now();            // seconds, monotonic
double ThreadSeconds();  // CPU time of this thread
double ProcessSeconds();
// Sorts. REQUIRES: not empty.
double Quantile(std::vector<double>& values, double q);

// --- figures -------------------------------------------------------------------------------------

enum class Goal { kNone, kRatioAtLeast, kRatioAtMost, kOursAtLeast, kOursAtMost };

struct Figure {
  std::string name;
  std::string unit;
  double ours = 0;
  std::optional<double> baseline = {};
  std::optional<double> ratio = {};  // default: ours / baseline
  int runs = 1;
  std::optional<std::pair<double, double>> iqr = {};  // of the ratio; of ours without a baseline
  Goal goal = Goal::kNone;
  double target = 0;
};
// One line of JSON on standard output, with the machine's load at the time.
void Print(const Figure& figure);

// Medians of both sides and of the ratio of each pair.
struct Pairs {
  std::vector<double> ours;
  std::vector<double> baseline;
  void Add(double a, double b) {
    ours.push_back(a);
    baseline.push_back(b);
  }
  Figure ToFigure(const std::string& name, const std::string& unit, Goal goal = Goal::kNone,
                  double target = 0) const;
};

// --- the application -----------------------------------------------------------------------------

// A connection in WAL mode, with SQLite's automatic checkpoint until Ship() is called.
class App {
 public:
  explicit App(const std::string& path, const std::string& synchronous = "NORMAL");
  ~App();

  // Puts an engine on the database, shipping to the store; returns when the first image is there
  // unless `wait_for_image` is off.
  void Ship(std::shared_ptr<ObjectStore> store, const ShipOptions& options = {},
            bool wait_for_image = true);
  void WaitForImage();
  // Hooks another connection of the same database, as attaching does.
  Connection Another();
  void Exec(const std::string& sql) { Must(db_.Exec(sql.c_str()), sql.substr(0, 100)); }
  void Sync();
  Engine* engine() { return engine_.get(); }
  sqlite3* db() { return db_.get(); }
  uint32_t last_frames() const { return last_frames_; }
  // Flushes within the timeout.
  void Stop(std::chrono::milliseconds timeout = std::chrono::minutes(1));

 private:
  static int Hook(void* self, sqlite3*, const char* schema, int frames);
  std::string path_;
  std::string synchronous_;
  std::shared_ptr<Engine> engine_;
  uint32_t last_frames_ = 0;
  Connection db_;  // last: opening it looks at the others
};

// INSERT of one row with a 100-byte blob, prepared once: the workload of the overhead claims.
class Inserter {
 public:
  // Makes the table if it is not there.
  explicit Inserter(sqlite3* db, uint32_t blob_bytes = 100);
  ~Inserter();
  Inserter(const Inserter&) = delete;
  Inserter& operator=(const Inserter&) = delete;
  void Commit();

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  uint64_t random_ = 88172645463325252;
  std::vector<unsigned char> blob_;
};

// A WAL database with table t of Inserter, one row a page of 4 KiB; this share of each is noise,
// the rest zeroes, and no page is like another.
void FillDatabase(const std::string& path, uint64_t pages, double noise);

std::shared_ptr<ObjectStore> DirectoryStoreAt(const std::string& path);

// --- two processes -------------------------------------------------------------------------------

// A child process with one side of a pair, answering requests one at a time. The side without the
// engine must not live in a process with threads: libc's locks are cheaper without any.
class Child {
 public:
  using Handler = std::function<std::vector<double>(int what, double n)>;
  // `make` runs in the child; REQUIRES: this process has no threads. A child has the pipes of those
  // before it, so the last one made is to be destroyed first.
  explicit Child(const std::function<Handler()>& make);
  ~Child();  // ends the child's handler, then the child
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  std::vector<double> Ask(int what, double n = 0);
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

}  // namespace sqlite_s3::bench
