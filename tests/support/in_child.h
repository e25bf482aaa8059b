#pragma once
// InChild: a piece of a test in a process of its own.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

namespace sqlite_s3 {

// What waitpid says of a child that runs `body`; 0 when it returned true. A child that hangs is
// killed by an alarm long before the test's own time is over.
inline int InChild(const std::function<bool()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace sqlite_s3
