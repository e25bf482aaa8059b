#include "tests/support/run_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/os/fd.h"

extern char** environ;

namespace sqlite_s3 {
namespace {

// A test program that cannot start children proves nothing: no error to hand on.
void Check(bool ok, const char* what) {
  if (!ok) {
    std::perror(what);
    std::abort();
  }
}

}  // namespace

ProgramResult RunProgram(const std::vector<std::string>& argv,
                         const std::map<std::string, std::string>& environment) {
  std::map<std::string, std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) {
      all[std::string(*entry, static_cast<size_t>(equals - *entry))] = equals + 1;
    }
  }
  for (const auto& [name, value] : environment) {
    all[name] = value;
  }
  std::vector<std::string> entries;
  for (const auto& [name, value] : all) {
    entries.push_back(name + "=" + value);
  }
  std::vector<char*> envp;
  for (std::string& entry : entries) {
    envp.push_back(entry.data());
  }
  envp.push_back(nullptr);
  std::vector<std::string> words = argv;
  std::vector<char*> args;
  for (std::string& word : words) {
    args.push_back(word.data());
  }
  args.push_back(nullptr);

  int fds[2];
  Check(::pipe2(fds, O_CLOEXEC) == 0, "pipe2");
  Fd read_end(fds[0]);
  Fd write_end(fds[1]);
  posix_spawn_file_actions_t actions;
  Check(::posix_spawn_file_actions_init(&actions) == 0, "posix_spawn_file_actions_init");
  ::posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  pid_t pid = 0;
  errno = ::posix_spawn(&pid, args[0], &actions, nullptr, args.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  Check(errno == 0, args[0]);
  write_end.Close();

  ProgramResult result;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::read(read_end.get(), buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)) {
    if (n > 0) {
      result.out.append(buffer, static_cast<size_t>(n));
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    Check(errno == EINTR, "waitpid");
  }
  if (WIFEXITED(status)) {
    result.exit_code = WEXITSTATUS(status);
  } else {
    result.signal = WTERMSIG(status);
  }
  return result;
}

std::map<std::string, std::string> KillAtEnvironment(std::map<std::string, std::string> settings) {
  settings["LD_PRELOAD"] = SQLITE_S3_KILL_AT_LIBRARY;
  const char* asan = std::getenv("ASAN_OPTIONS");
  settings["ASAN_OPTIONS"] =
      (asan == nullptr ? std::string() : std::string(asan) + ":") + "verify_asan_link_order=0";
  return settings;
}

int KillAtEveryCall(const std::vector<std::string>& argv,
                    std::map<std::string, std::string> settings,
                    const std::function<void(int k)>& before,
                    const std::function<void(int k, const ProgramResult&)>& after) {
  for (int k = 1;; ++k) {
    before(k);
    settings["KILL_AT"] = std::to_string(k);
    ProgramResult result = RunProgram(argv, KillAtEnvironment(settings));
    after(k, result);
    if (!result.WasKilled() || ::testing::Test::HasFailure()) {
      return k - 1;
    }
  }
}

}  // namespace sqlite_s3
