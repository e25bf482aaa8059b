#pragma once
// RunProgram: a child process for crash tests, and the loop that kills it at every system call.

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace sqlite_s3 {

struct ProgramResult {
  int exit_code = -1;  // -1 when a signal ended it
  int signal = 0;
  std::string out;  // its stdout; stderr goes where ours goes
  bool Succeeded() const { return exit_code == 0; }
  bool WasKilled() const { return signal == 9; }
};

// argv[0] is the path. `environment` is set on top of ours. Waits for the end.
ProgramResult RunProgram(const std::vector<std::string>& argv,
                         const std::map<std::string, std::string>& environment = {});

// `settings` and LD_PRELOAD for kill_at.c (see there), e.g. {{"KILL_AT", "3"}}; also what a program
// built with AddressSanitizer needs to accept it.
std::map<std::string, std::string> KillAtEnvironment(std::map<std::string, std::string> settings);

// Runs `argv` with KILL_AT = 1, 2, 3, ... until a run is not killed, and returns how many were.
// `before` prepares each run (a fresh directory), `after` checks what it left; the last call of
// `after` gets the run that completed. `settings` as above. Stops at a failed check.
int KillAtEveryCall(const std::vector<std::string>& argv,
                    std::map<std::string, std::string> settings,
                    const std::function<void(int k)>& before,
                    const std::function<void(int k, const ProgramResult&)>& after);

}  // namespace sqlite_s3
