#include "restore/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>

namespace sqlite_s3 {
namespace {

// What the handler may touch: fixed buffers, published by the flag.
constexpr const char* kSuffixes[] = {"", "-wal", "-shm"};
char g_paths[3][PATH_MAX + 8];
std::atomic<bool> g_armed{false};

void Remove() {
  if (g_armed) {
    for (const char* path : g_paths) {
      ::unlink(path);
    }
  }
}

void RemoveAndExit(int signal_number) {
  Remove();
  ::_exit(128 + signal_number);
}

}  // namespace

void InstallSignalHandlers() {
  struct sigaction action {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
  for (int signal_number : {SIGINT, SIGTERM}) {
    struct sigaction before {};
    if (::sigaction(signal_number, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) {
      continue;  // whoever started us in the background wants it so
    }
    action.sa_handler = &RemoveAndExit;
    ::sigaction(signal_number, &action, nullptr);
  }
}

void RemoveWhenInterrupted(const std::string& path) {
  g_armed = false;
  if (path.size() >= PATH_MAX) {
    return;  // no system call would have made it
  }
  for (size_t i = 0; i < std::size(kSuffixes); ++i) {
    std::memcpy(g_paths[i], path.c_str(), path.size());
    std::strcpy(g_paths[i] + path.size(), kSuffixes[i]);
  }
  g_armed = true;
}

void RemoveNothingWhenInterrupted() { g_armed = false; }

void RemoveBeforeTheEnd() { Remove(); }

}  // namespace sqlite_s3
