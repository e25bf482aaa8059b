#include "agent/daemon/run_command.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "agent/daemon/agent.h"
#include "agent/daemon/failure.h"
#include "common/base/exit_codes.h"
#include "common/config/url.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

constexpr auto kOncePatience = std::chrono::minutes(30);

Result<Fd> TakeSignals() {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) {
    sigaddset(&taken, number);
  }
  pthread_sigmask(SIG_BLOCK, &taken, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a closed connection is an error of write
  Fd fd(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "signalfd");
  }
  return fd;
}

Result<DatabaseSpec> SpecOfCommandLine(const RunCommand& command) {
  DatabaseSpec spec;
  ASSIGN_OR_RETURN(spec.path, MakeAbsolutePath(command.database));
  spec.replica_url = command.replica;
  ASSIGN_OR_RETURN(spec.replica, ParseReplicaConfig(command.replica, command.options));
  RETURN_IF_ERROR(CheckSidecarOptions(spec.replica.ship));
  return spec;
}

Status ConfigureLog(const RunCommand& command, Logger& log) {
  LogFormat format = getenv("JOURNAL_STREAM") != nullptr ? LogFormat::kJournal : LogFormat::kText;
  if (command.log_format == "json") {
    format = LogFormat::kJson;
  } else if (command.log_format == "text") {
    format = LogFormat::kText;
  } else if (!command.log_format.empty()) {
    return InvalidArgumentError("option '--log-format': '" + command.log_format +
                                "' is not one of text, json");
  }
  LogLevel level = LogLevel::kInfo;
  if (!command.log_level.empty()) {
    auto parsed = ParseLogLevel(command.log_level);
    if (!parsed.ok()) {
      return parsed.status().WithContext("option '--log-level'");
    }
    level = *parsed;
  }
  log.Configure(format, level);
  return Status::Ok();
}

// Ships what there is, and nothing that comes later.
int RunOnce(const DatabaseSpec& spec, Logger& log) {
  FileClaims claims;
  DatabaseTask task(spec, claims, log);
  (void)task.Attend(false);
  const std::shared_ptr<Engine> engine = task.engine();
  if (!engine) {
    return Fail(task.waiting());
  }
  Txid txid;
  Status shipped = engine->Sync(kOncePatience, &txid);
  const Status stopped = task.Stop(spec.replica.ship.close_timeout);
  if (shipped.ok()) {
    shipped = stopped;
  }
  if (!shipped.ok()) {
    return Fail(shipped);
  }
  log.Write(LogLevel::kInfo, spec.path, "shipped up to TXID " + FormatTxid(txid));
  return 0;
}

}  // namespace

int RunAgent(const RunCommand& command) {
  Logger log;
  if (const Status status = ConfigureLog(command, log); !status.ok()) {
    return Fail(status);
  }
  auto signals = TakeSignals();
  if (!signals.ok()) {
    return Fail(signals.status());
  }
  auto spec = SpecOfCommandLine(command);
  if (!spec.ok()) {
    return Fail(spec.status());
  }
  if (command.once) {
    return RunOnce(*spec, log);
  }
  auto agent = Agent::Create(log);
  if (!agent.ok()) {
    return Fail(agent.status());
  }
  if (const Status added = (*agent)->Add(*spec); !added.ok()) {
    return Fail(added);
  }
  bool stopping = false;
  (*agent)->AddSource(signals->get(), [&] {
    signalfd_siginfo info{};
    while (read(signals->get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
        stopping = true;
        (*agent)->Stop();
      }
    }
  });
  (*agent)->Run();
  // A second signal ends the process as it would have without us: nothing is lost by it, what was
  // encoded is in the state directory.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);
  log.Write(LogLevel::kInfo, "", "stopping");
  const Status stopped = (*agent)->StopAll();
  return stopped.ok() ? 0 : ExitCodeFor(stopped.code());
}

}  // namespace sqlite_s3
