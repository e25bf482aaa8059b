// credential_process: running the program that a profile names.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/base/clock.h"
#include "common/os/fd.h"
#include "common/store/credential_profile.h"

extern char** environ;

namespace sqlite_s3 {
namespace {

constexpr size_t kMaxOutput = 64 << 10;
constexpr int64_t kPatienceUs = 60'000'000;

// Reads to the end; false when it takes too long or there is too much.
bool ReadOutput(int fd, std::string& out) {
  const int64_t deadline_us = Clock::Real().MonotonicMicros() + kPatienceUs;
  while (true) {
    const int64_t left_ms = (deadline_us - Clock::Real().MonotonicMicros()) / 1000;
    pollfd waiting{fd, POLLIN, 0};
    int ready = left_ms > 0 ? poll(&waiting, 1, static_cast<int>(left_ms)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) return true;
    if (out.size() + static_cast<size_t>(n) > kMaxOutput) return false;
    out.append(chunk, static_cast<size_t>(n));
  }
}

}  // namespace

Result<std::vector<std::string>> SplitCommandLine(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0' && c == quote) {
      quote = '\0';
    } else if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word.push_back(text[++i]);
      in_word = true;
    } else if (quote != '\0') {
      word.push_back(c);
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != '\0') {
    return InvalidArgumentError("credential_process: a quote is not closed");
  }
  if (in_word) words.push_back(std::move(word));
  if (words.empty()) {
    return InvalidArgumentError("credential_process: there is no command");
  }
  return words;
}

Result<std::string> RunCredentialProcess(const std::vector<std::string>& words) {
  const std::string what = "credential_process '" + words[0] + "'";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return ResourceExhaustedError(what + ": no pipe: " + std::strerror(errno));
  }
  Fd reading(ends[0]);
  Fd writing(ends[1]);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, writing.get(), STDOUT_FILENO);
  // What it says on standard error may hold secrets, and the terminal is the host's.
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);  // our threads block all signals
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  int error =
      posix_spawnp(&child, words[0].c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return PermissionDeniedError(what + " cannot be run: " + std::strerror(error));
  }
  writing.Close();
  std::string output;
  const bool complete = ReadOutput(reading.get(), output);
  if (!complete) {
    kill(child, SIGKILL);
  }
  int status = 0;
  pid_t waited = 0;
  while ((waited = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  if (!complete) {
    return UnavailableError(what + " said too much or took longer than a minute");
  }
  // A host that ignores SIGCHLD takes the exit status away: the document must do then.
  if (waited == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
    return UnavailableError(what + " failed");
  }
  return output;
}

}  // namespace sqlite_s3
