// restore_rate: sqlite-s3-restore against copying the same bytes, how many commits a second it
// applies, and diff and undo of one small commit against restoring the database. The program is the
// one of this build, in ../bin.

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "bench/support.h"

extern char** environ;

namespace sqlite_s3::bench {
namespace {

// Seconds until the program has ended well.
double Run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // What it says is not a figure.
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const double begin = Now();
  pid_t pid = 0;
  if (posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0) {
    Die("cannot run " + arguments[0]);
  }
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) {
    Die(arguments[0] + " failed");
  }
  return Now() - begin;
}

void Rate(const Arguments& arguments, const std::string& program) {
  Scratch scratch;
  const std::string source = scratch.File("app.db");
  const std::string replica = scratch.File("replica");
  FillDatabase(source, (arguments.quick ? 4 << 20 : 1 << 30) / 4096, 0.5);
  {
    App app(source);
    app.Ship(DirectoryStoreAt(replica));
    Inserter(app.db()).Commit();
    app.Sync();
  }
  const double mib = static_cast<double>(std::filesystem::file_size(source)) / (1 << 20);
  Pairs pairs;
  const int runs = arguments.Pairs(12);
  for (int i = -1; i < runs; ++i) {  // the first one warms up
    const std::string copy = scratch.File("copy.db");
    const std::string restored = scratch.File("restored.db");
    double ours = 0;
    double plain = 0;
    for (bool first : {true, false}) {
      if (first == (i % 2 == 0)) {
        ours = Run({program, replica, "-o", restored, "--verify", "none"});
      } else {
        // `sync FILE` is fsync(2) of that file.
        plain = Run({"/bin/sh", "-c", "cp \"$0\" \"$1\" && sync \"$1\"", source, copy});
      }
    }
    if (i >= 0) {
      pairs.Add(mib / ours, mib / plain);
    }
    if (std::filesystem::file_size(restored) != std::filesystem::file_size(source)) {
      Die("the restored database has another size");
    }
    std::filesystem::remove(copy);
    std::filesystem::remove(restored);
  }
  Print(pairs.ToFigure("restore_rate.bytes", "MiB/s", Goal::kRatioAtLeast, 0.6));
}

void Commits(const Arguments& arguments, const std::string& program) {
  Scratch scratch;
  const std::string source = scratch.File("app.db");
  const std::string replica = scratch.File("replica");
  const int commits = arguments.quick ? 2000 : 200'000;
  // Larger than processor caches, or every page would be a hot one: 240 MB.
  const uint64_t rows = arguments.quick ? 20'000 : 2'000'000;
  {
    App app(source);
    app.Exec(
        fmt::format("CREATE TABLE u(id INTEGER PRIMARY KEY, v REAL, body BLOB);"
                    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<{})"
                    "INSERT INTO u SELECT i, 0.5, randomblob(100) FROM c",
                    rows));
    ShipOptions options;
    options.image_log_percent = 0;  // nothing to take a shorter way by
    app.Ship(DirectoryStoreAt(replica), options);
    sqlite3_stmt* update = nullptr;
    sqlite3_prepare_v2(app.db(), "UPDATE u SET v=?1 WHERE id=?2", -1, &update, nullptr);
    std::mt19937_64 random(1);
    for (int i = 0; i < commits; ++i) {
      sqlite3_bind_double(update, 1, std::uniform_real_distribution<double>()(random));
      sqlite3_bind_int64(update, 2, static_cast<sqlite3_int64>(1 + random() % rows));
      if (sqlite3_step(update) != SQLITE_DONE || sqlite3_reset(update) != SQLITE_OK) {
        Die(sqlite3_errmsg(app.db()));
      }
      if (i % 2000 == 1999) {
        app.Sync();  // so that no two of them share a restore point
      }
    }
    sqlite3_finalize(update);
    app.Sync();
    if (app.engine()->GetStatus(false).merged_commits != 0) {
      Die("commits were merged");
    }
  }
  std::vector<double> rates;
  for (int i = 0; i < arguments.Pairs(5); ++i) {
    const std::string restored = scratch.File("restored.db");
    rates.push_back(commits / Run({program, replica, "-o", restored, "--verify", "none"}));
    std::filesystem::remove(restored);
  }
  Figure f{.name = "restore_rate.commits", .unit = "single-page commits/s, whole program"};
  f.ours = Quantile(rates, 0.5);
  f.runs = static_cast<int>(rates.size());
  f.iqr = {Quantile(rates, 0.25), Quantile(rates, 0.75)};
  f.goal = Goal::kOursAtLeast;
  f.target = 100'000;
  Print(f);
}

// One small commit of a large database: what it did, and how to reverse it, against a restore.
void OneCommit(const Arguments& arguments, const std::string& program) {
  Scratch scratch;
  const std::string source = scratch.File("app.db");
  const std::string replica = scratch.File("replica");
  const std::string restored = scratch.File("restored.db");
  const uint64_t mib = arguments.quick ? 4 : arguments.long_run ? 1024 : 256;
  FillDatabase(source, (mib << 20) / 4096, 0.5);
  {
    App app(source);
    app.Ship(DirectoryStoreAt(replica));
    app.Exec("DELETE FROM t WHERE id IN (10, 2000, 30000)");
    app.Exec("UPDATE t SET id=-id WHERE id IN (11, 12)");
    app.Sync();
  }
  const auto run = [&](const std::string& figure, const std::vector<std::string>& command) {
    if (!arguments.Wants(figure)) {
      return;
    }
    Pairs pairs;
    for (int i = -1; i < arguments.Pairs(7); ++i) {  // the first one warms up
      std::vector<std::string> ours{program};
      ours.insert(ours.end(), command.begin(), command.end());
      const double seconds = Run(ours);
      const double restore = Run({program, replica, "-o", restored});
      std::filesystem::remove(restored);
      if (i >= 0) {
        pairs.Add(seconds, restore);
      }
    }
    Print(pairs.ToFigure(figure, "s", Goal::kRatioAtMost, 2));
  };
  run("restore_rate.undo", {"undo", replica, "txid:0000000000000002"});
  run("restore_rate.diff", {"diff", replica, "txid:0000000000000001", "txid:0000000000000002"});
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  const std::string program =
      (std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "bin" /
       "sqlite-s3-restore")
          .string();
  if (access(program.c_str(), X_OK) != 0) {
    Die("there is no " + program + ", hint: build target sqlite-s3-restore");
  }
  if (arguments.Wants("restore_rate.bytes")) {
    Rate(arguments, program);
  }
  if (arguments.Wants("restore_rate.commits")) {
    Commits(arguments, program);
  }
  if (arguments.Wants("restore_rate.undo") || arguments.Wants("restore_rate.diff")) {
    OneCommit(arguments, program);
  }
  return 0;
}
