// sidecar_overhead: what a sidecar costs the application beside it. Single-row INSERTs as fast as
// they go, in blocks of a second: with sqlite-s3-agent, with nothing, and with Litestream where
// there is one (LITESTREAM names it, else PATH), each with a database of its own; and beside a
// process that only counts: where that costs the application much, the machine is not quiet, or its
// processors share a core, and the other ratios say little. They take turns on the same disk; a
// sidecar is stopped (SIGSTOP) while another side is measured, so that each pays for all of its
// work in its own blocks and for none of another's. Replicas are directories, in memory (/dev/shm)
// where there is one: a store elsewhere is not on this disk.

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

namespace fs = std::filesystem;

std::string AgentProgram() {
  return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin/sqlite-s3-agent")
      .string();
}

// Empty when there is none.
std::string LitestreamProgram() {
  if (const char* named = std::getenv("LITESTREAM"); named != nullptr && *named != '\0') {
    return named;
  }
  const char* path = std::getenv("PATH");
  for (std::string_view rest = path != nullptr ? path : ""; !rest.empty();) {
    const size_t end = std::min(rest.find(':'), rest.size());
    std::string program = std::string(rest.substr(0, end)).append("/litestream");
    if (access(program.c_str(), X_OK) == 0) {
      return program;
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

class Sidecar {
 public:
  Sidecar(std::vector<std::string> command, const std::string& log) {
    std::vector<char*> argv;
    for (std::string& word : command) {
      argv.push_back(word.data());
    }
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int fd : {1, 2}) {
      posix_spawn_file_actions_addopen(&actions, fd, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0600);
    }
    if (posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) {
      Die("cannot start " + command[0]);
    }
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Sidecar() {
    kill(pid_, SIGCONT);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;

  void Stop() { kill(pid_, SIGSTOP); }
  void Continue() {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      Die("a sidecar ended by itself");
    }
    kill(pid_, SIGCONT);
  }
  double CpuSeconds() const {
    std::ifstream file(fmt::format("/proc/{}/stat", pid_));
    std::string stat(std::istreambuf_iterator<char>(file), {});
    unsigned long user = 0;
    unsigned long system = 0;
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos ||
        std::sscanf(stat.c_str() + name_end + 1,
                    " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
      Die("cannot read a sidecar's /proc/PID/stat");
    }
    return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }

 private:
  pid_t pid_ = -1;
};

Child::Handler MakeApplication(const std::string& path, const std::string& synchronous) {
  auto app = std::make_shared<App>(path, synchronous);
  auto inserter = std::make_shared<Inserter>(app->db());
  inserter->Commit();
  return [app, inserter](int, double seconds) -> std::vector<double> {
    double commits = 0;
    double longest = 0;
    const double begin = Now();
    double at = begin;
    while (at < begin + seconds) {
      inserter->Commit();
      ++commits;
      const double done = Now();
      longest = std::max(longest, done - at);
      at = done;
    }
    return {commits / (at - begin), commits, longest};
  };
}

struct Block {
  double rate = 0;     // commits a second
  double longest = 0;  // s, of a commit
  double cpu = 0;      // s of the sidecar per commit
};

// An application and its sidecar, if it has one.
class Side {
 public:
  Side(const Scratch& scratch, const std::string& name, const std::string& synchronous)
      : database_(scratch.File(name + ".db")),
        log_(scratch.File(name + ".log")),
        app_([&] { return MakeApplication(database_, synchronous); }) {
    (void)app_.Ask(0, 0);  // the database is there
  }
  // `command` is of no use to the application.
  void StartUseless(const std::vector<std::string>& command) {
    sidecar_ = std::make_unique<Sidecar>(command, log_);
    sidecar_->Stop();
  }
  // `command` has %DB% and %REPLICA%; returns once the replica has something.
  void Start(std::vector<std::string> command, const std::string& replica) {
    for (std::string& word : command) {
      word = word == "%DB%" ? database_ : word == "%REPLICA%" ? "file://" + replica : word;
    }
    fs::create_directories(replica);
    sidecar_ = std::make_unique<Sidecar>(std::move(command), log_);
    for (int i = 0; i < 3000; ++i) {
      for (const auto& entry : fs::recursive_directory_iterator(replica)) {
        if (entry.is_regular_file()) {
          sidecar_->Stop();
          return;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::ifstream log(log_);
    Die("a sidecar ships nothing: " + std::string(std::istreambuf_iterator<char>(log), {}));
  }
  Block Run(double seconds) {
    const double cpu = sidecar_ ? sidecar_->CpuSeconds() : 0;
    if (sidecar_) {
      sidecar_->Continue();
    }
    const std::vector<double> answer = app_.Ask(0, seconds);
    if (sidecar_) {
      sidecar_->Stop();
    }
    return {answer[0], answer[2], ((sidecar_ ? sidecar_->CpuSeconds() : 0) - cpu) / answer[1]};
  }
  double WalMiB() const {
    std::error_code ignored;
    const auto bytes = fs::file_size(database_ + "-wal", ignored);
    return ignored ? 0 : static_cast<double>(bytes) / 1048576;
  }

 private:
  std::string database_;
  std::string log_;
  Child app_;
  std::unique_ptr<Sidecar> sidecar_;
};

// Where replicas lie, removed at the end.
struct Replicas {
  Replicas() {
    std::error_code ignored;
    if (access("/dev/shm", W_OK) == 0 && fs::space("/dev/shm", ignored).available > (1ULL << 31)) {
      path = "/dev/shm/sqlite-s3-bench-XXXXXX";
      if (mkdtemp(path.data()) == nullptr) {
        path.clear();
      }
    }
    if (path.empty()) {
      path = scratch.File("replicas");
    }
  }
  ~Replicas() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Replicas(const Replicas&) = delete;
  Replicas& operator=(const Replicas&) = delete;
  Scratch scratch;
  std::string path;
};

void Overhead(const Arguments& arguments, const std::string& synchronous, double target,
              const std::string& litestream) {
  const std::string name = "sidecar_overhead." + synchronous;
  if (!arguments.Wants(name)) {
    return;
  }
  Scratch scratch;
  Replicas replicas;
  std::vector<std::unique_ptr<Side>> sides;  // ours, none, one that counts, Litestream
  for (const char* side : {"ours", "none", "counts", "litestream"}) {
    if (side != std::string_view("litestream") || !litestream.empty()) {
      sides.push_back(std::make_unique<Side>(scratch, side, synchronous));
    }
  }
  sides[0]->Start({AgentProgram(), "run", "%DB%", "%REPLICA%"}, replicas.path + "/ours");
  sides[2]->StartUseless({"/bin/sh", "-c", "while :; do :; done"});
  if (sides.size() > 3) {
    sides[3]->Start({litestream, "replicate", "-log-level", "warn", "%DB%", "%REPLICA%"},
                    replicas.path + "/litestream");
  }
  const double seconds = arguments.quick ? 0.1 : 1;
  for (const auto& side : sides) {
    side->Run(arguments.quick ? 0.1 : 2);  // warm up
  }
  std::vector<std::vector<Block>> blocks(sides.size());
  const int runs = arguments.Pairs(50);
  for (int i = 0; i < runs; ++i) {  // whoever comes first pays in turn
    for (size_t k = 0; k < sides.size(); ++k) {
      const size_t at = (static_cast<size_t>(i) + k) % sides.size();
      blocks[at].push_back(sides[at]->Run(seconds));
    }
  }
  auto pairs = [&](size_t a, size_t b, auto value) {
    Pairs result;
    for (size_t i = 0; i < blocks[a].size(); ++i) {
      result.Add(value(blocks[a][i]), value(blocks[b][i]));
    }
    return result;
  };
  auto median = [&](size_t of, auto value) {
    std::vector<double> values;
    for (const Block& block : blocks[of]) {
      values.push_back(value(block));
    }
    return Quantile(values, 0.5);
  };
  const auto rate = [](const Block& block) { return block.rate; };
  const auto longest = [](const Block& block) { return block.longest * 1e3; };
  const auto cpu = [](const Block& block) { return block.cpu * 1e6; };
  Print(pairs(0, 1, rate).ToFigure(name, "commits/s", Goal::kRatioAtLeast, target));
  Print(pairs(2, 1, rate).ToFigure(name + ".beside_a_counting_process", "commits/s"));
  Print(pairs(0, 1, longest).ToFigure(name + ".longest_commit", "ms, in a block"));
  Figure used{.name = name + ".cpu", .unit = "us of the sidecar per commit"};
  Figure wal{.name = name + ".wal", .unit = "MiB, at the end"};
  used.ours = median(0, cpu);
  used.runs = runs;
  wal.ours = sides[0]->WalMiB();
  if (sides.size() > 3) {
    Print(pairs(3, 1, rate).ToFigure(name + ".litestream_alone", "commits/s of Litestream's side"));
    Print(pairs(0, 3, rate)
              .ToFigure(name + ".against_litestream", "commits/s", Goal::kRatioAtLeast, 1));
    Print(pairs(0, 3, longest)
              .ToFigure(name + ".longest_commit_against_litestream", "ms, in a block"));
    used.baseline = median(3, cpu);
    wal.baseline = sides[3]->WalMiB();
  }
  Print(used);
  Print(wal);
  while (!sides.empty()) {  // the last child first
    sides.pop_back();
  }
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  const Arguments arguments = ParseArguments(argc, argv);
  const std::string litestream = LitestreamProgram();
  if (litestream.empty()) {
    std::fprintf(stderr, "sidecar_overhead: no litestream in PATH: left out\n");
  }
  Overhead(arguments, "NORMAL", 0.9, litestream);
  Overhead(arguments, "FULL", 0.97, litestream);
  return 0;
}
