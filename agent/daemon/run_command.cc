#include "agent/daemon/run_command.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <utility>

#include "agent/daemon/agent.h"
#include "agent/daemon/application.h"
#include "agent/daemon/child.h"
#include "agent/daemon/config_file.h"
#include "agent/daemon/control_server.h"
#include "agent/daemon/failure.h"
#include "agent/daemon/metrics.h"
#include "agent/daemon/metrics_listener.h"
#include "agent/daemon/overseer.h"
#include "agent/daemon/process_setup.h"
#include "agent/daemon/run_once.h"
#include "common/base/exit_codes.h"
#include "common/config/url.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

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
  ASSIGN_OR_RETURN(const std::string path, MakeAbsolutePath(command.database));
  ASSIGN_OR_RETURN(DatabaseSpec spec, MakeDatabaseSpec(path, command.replica, command.options));
  RETURN_IF_ERROR(CheckSidecarOptions(spec.replica.ship));
  return spec;
}

// An empty replica is a first start: there is nothing to restore.
int RestoreIfMissing(const RunCommand& command, const DatabaseSpec& spec) {
  auto restore =
      Child::Start({command.restore_program, FormatReplicaUrl(spec.replica_url, spec.replica), "-o",
                    command.database, "--if-not-exists"},
                   true);
  if (!restore.ok()) {
    return Fail(restore.status());
  }
  const int code = restore->Wait();
  return code == ExitCodeFor(StatusCode::kNotFound) ? 0 : code;
}

// `running`: what the agent has, some of it from its start and for good.
Status Reload(const RunCommand& flags, AgentSettings& running, Agent& agent, Overseer& overseer,
              Logger& log) {
  ASSIGN_OR_RETURN(const AgentConfig config, LoadAgentConfig(flags.config));
  const AgentSettings settings = CompleteSettings(flags.settings, config.settings);
  for (const auto& [key, same] : {std::pair("control", settings.control == running.control),
                                  std::pair("metrics", settings.metrics == running.metrics)}) {
    if (!same) {
      return FailedPreconditionError("'" + std::string(key) +
                                     "' cannot change while the agent runs, hint: start it again");
    }
  }
  // What can be wrong comes before anything is changed.
  RETURN_IF_ERROR(CheckSettings(settings));
  ASSIGN_OR_RETURN(const RateLimits limits, TotalLimits(settings));
  ASSIGN_OR_RETURN(std::unique_ptr<Heartbeat> heartbeat, MakeHeartbeat(settings, log));
  RETURN_IF_ERROR(agent.Apply(config.databases, config.directories));
  agent.SetLimits(limits);
  agent.SetPrices(config.prices);
  if (settings.heartbeat_url != running.heartbeat_url ||
      settings.heartbeat_interval != running.heartbeat_interval) {
    overseer.SetHeartbeat(std::move(heartbeat));
  }
  running = settings;
  return ConfigureLog(settings, log);
}

}  // namespace

int RunAgent(const RunCommand& command) {
  AgentConfig config;
  if (!command.config.empty()) {
    auto loaded = LoadAgentConfig(command.config);
    if (!loaded.ok()) {
      return Fail(loaded.status());
    }
    config = std::move(loaded).value();
  } else {
    auto spec = SpecOfCommandLine(command);
    if (!spec.ok()) {
      return Fail(spec.status());
    }
    config.databases.push_back(std::move(spec).value());
  }
  const AgentSettings settings = CompleteSettings(command.settings, config.settings);
  Logger log;
  if (const Status status = ConfigureLog(settings, log); !status.ok()) {
    return Fail(status);
  }
  if (const Status status = SetUpMemory(); !status.ok()) {
    return Fail(status);
  }
  auto signals = TakeSignals();
  if (!signals.ok()) {
    return Fail(signals.status());
  }
  if (command.restore_if_missing) {
    if (const int code = RestoreIfMissing(command, config.databases.front()); code != 0) {
      return code;
    }
  }
  const auto limits = TotalLimits(settings);
  if (!limits.ok()) {
    return Fail(limits.status());
  }
  if (command.once) {
    return RunAllOnce(config, *limits, log);
  }
  auto agent = Agent::Create(log);
  if (!agent.ok()) {
    return Fail(agent.status());
  }
  (*agent)->SetLimits(*limits);
  (*agent)->SetPrices(config.prices);
  if (const Status applied = (*agent)->Apply(config.databases, config.directories); !applied.ok()) {
    return Fail(applied);
  }
  std::unique_ptr<ControlServer> control;
  if (!settings.control.empty()) {
    auto listening = ControlServer::Listen(settings.control, **agent);
    if (!listening.ok()) {
      return Fail(listening.status());
    }
    control = std::move(listening).value();
    (*agent)->AddSource(control->fd(), [&] { control->Accept(); });
  }
  auto heartbeat = MakeHeartbeat(settings, log);
  if (!heartbeat.ok()) {
    return Fail(heartbeat.status());
  }
  auto overseer = Overseer::Create(**agent, log, std::move(heartbeat).value());
  if (!overseer.ok()) {
    return Fail(overseer.status());
  }
  (*agent)->AddSource((*overseer)->fd(), [&] { (*overseer)->OnTimer(); });
  if (!command.config.empty()) {
    // A copy of its own: reloads come from any thread.
    (*agent)->SetReload(command.config, [&, running = settings]() mutable {
      (*overseer)->service().Reloading();
      Status reloaded = Reload(command, running, **agent, **overseer, log);
      (*overseer)->service().Ready();
      return reloaded;
    });
  }
  std::unique_ptr<MetricsListener> metrics;
  if (!settings.metrics.empty()) {
    auto started = ServeMetrics(settings.metrics, **agent);
    if (!started.ok()) {
      return Fail(started.status());
    }
    metrics = std::move(started).value();
    log.Write(LogLevel::kInfo, "", "metrics at port " + std::to_string(metrics->port()));
  }
  std::optional<Application> application;
  if (command.command.empty()) {
    RaiseDescriptorLimit();
  } else {
    application.emplace(command.command, **agent, log);
    if (const Status status = application->BeginSoon(); !status.ok()) {
      return Fail(status);
    }
  }
  (*agent)->OnAllAttended([&] {
    (*overseer)->Ready();
    if (application) {
      application->Begin();
    }
  });
  (*agent)->AddSource(signals->get(), [&] {
    signalfd_siginfo info{};
    while (read(signals->get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      if (application && application->TakeSignal(info)) {
        continue;
      }
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
        (*agent)->Stop();
      } else if (info.ssi_signo == SIGHUP && !command.config.empty()) {
        (void)(*agent)->Reload();  // what is wrong is in the log and the status
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
  (*overseer)->Stopping();
  bool abandoned = false;
  const Status stopped =
      (*agent)->StopAll(application && application->begun(), &abandoned);  // it may have been quick
  const Result<int> ended = application ? application->exit_code() : 0;
  const int code = !ended.ok()    ? Fail(ended.status())
                   : *ended != 0  ? *ended
                   : stopped.ok() ? 0
                                  : ExitCodeFor(stopped.code());
  if (abandoned) {
    log.Write(LogLevel::kWarning, "", stopped.message());
    if (!settings.control.empty()) {
      unlink(settings.control.c_str());
    }
    _exit(code);
  }
  control.reset();
  metrics.reset();
  return code;
}

}  // namespace sqlite_s3
