#pragma once
// Application: the command behind `run ... --`, which the agent starts and ends with. All of it on
// the loop's thread.

#include <sys/signalfd.h>

#include <optional>
#include <string>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/daemon/child.h"
#include "agent/daemon/log.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

class Application {
 public:
  // `command` is not empty. Both must outlive this.
  Application(std::vector<std::string> command, Agent& agent, Logger& log);

  // Begins within seconds, whatever happens: the application is never hurt, also when the store
  // hangs. Before Agent::Run.
  Status BeginSoon();
  // Begins now, unless it has. Not before its database was looked at: what a quick command commits
  // and checkpoints away at its end would be no commits of this replica, but a database that nobody
  // knows. Stops the agent when it cannot be started.
  void Begin();
  bool begun() const { return child_.has_value(); }

  // A signal that came to the agent. False: it has not begun, the signal is the agent's own.
  bool TakeSignal(const signalfd_siginfo& info);

  // What it ended with; 0 if it never began. Errors: it could not be started.
  Result<int> exit_code() const;

 private:
  const std::vector<std::string> command_;
  Agent& agent_;
  Logger& log_;
  Fd patience_;
  std::optional<Child> child_;
  Status started_;
};

}  // namespace sqlite_s3
