#pragma once
// Child: a program that the agent starts. The agent's own signal mask is not handed on.

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/status.h"

namespace sqlite_s3 {

class Child {
 public:
  // Looks `arguments[0]` up in PATH. `quiet`: what it prints goes to standard error, for standard
  // output is the application's. kNotFound: it cannot be started.
  static Result<Child> Start(const std::vector<std::string>& arguments, bool quiet = false);

  // True from the moment on that it was reaped; never waits.
  bool HasEnded();
  int Wait();  // the exit code
  void Signal(int number);
  // As a shell tells it: 128 + the signal that ended it. 0 until it has ended.
  int exit_code() const { return exit_code_; }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  void Note(int status);
  pid_t pid_ = -1;  // -1: reaped
  int exit_code_ = 0;
};

}  // namespace sqlite_s3
