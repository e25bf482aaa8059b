#include "agent/daemon/run_command.h"

#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "agent/daemon/agent.h"
#include "agent/daemon/child.h"
#include "agent/daemon/config_file.h"
#include "agent/daemon/control_server.h"
#include "agent/daemon/failure.h"
#include "agent/daemon/metrics.h"
#include "agent/daemon/metrics_listener.h"
#include "agent/daemon/overseer.h"
#include "agent/daemon/process_setup.h"
#include "common/base/exit_codes.h"
#include "common/config/environment.h"
#include "common/config/option_table.h"
#include "common/config/url.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

constexpr auto kOncePatience = std::chrono::minutes(30);
constexpr std::chrono::milliseconds kHeartbeatInterval{60'000};
constexpr std::chrono::milliseconds kLeastHeartbeatInterval{100};
// The application is never hurt: it begins also when the store hangs.
constexpr time_t kChildPatienceSeconds = 5;

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

// Readable once, so many seconds from now.
Result<Fd> StartTimer(time_t seconds) {
  Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  const itimerspec spec{{}, {seconds, 0}};
  if (!timer.valid() || timerfd_settime(timer.get(), 0, &spec, nullptr) != 0) {
    return ErrnoStatus(errno, "open", "timerfd");
  }
  return timer;
}

Result<DatabaseSpec> SpecOfCommandLine(const RunCommand& command) {
  DatabaseSpec spec;
  ASSIGN_OR_RETURN(spec.path, MakeAbsolutePath(command.database));
  spec.replica_url = command.replica;
  ASSIGN_OR_RETURN(const ReplicaConfig environment, EnvironmentDefaults());
  ASSIGN_OR_RETURN(spec.replica, ParseReplicaConfig(command.replica, command.options, environment));
  RETURN_IF_ERROR(CheckSidecarOptions(spec.replica.ship));
  return spec;
}

Status ConfigureLog(const RunCommand& command, Logger& log) {
  LogFormat format = StandardErrorIsJournal() ? LogFormat::kJournal : LogFormat::kText;
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

// Null when none is asked for.
Result<std::unique_ptr<Heartbeat>> MakeHeartbeat(const RunCommand& command, Logger& log) {
  std::chrono::milliseconds interval = kHeartbeatInterval;
  if (!command.heartbeat_interval.empty()) {
    auto parsed = ParseDuration(command.heartbeat_interval);
    if (!parsed.ok() || *parsed < kLeastHeartbeatInterval) {
      return InvalidArgumentError("option 'heartbeat_interval': '" + command.heartbeat_interval +
                                  "' is not a duration of 100ms or more");
    }
    interval = *parsed;
  }
  if (command.heartbeat_url.empty()) {
    return std::unique_ptr<Heartbeat>();
  }
  return Heartbeat::Create(command.heartbeat_url, interval, log);
}

// Of all databases together.
Result<RateLimits> TotalLimits(const RunCommand& command) {
  RateLimits limits;
  ReplicaConfig scratch;  // one grammar, and the same bounds
  for (const auto& [name, option, text, value] :
       {std::tuple("total_upload_rate", "upload_rate", &command.total_upload_rate,
                   &ShipOptions::upload_rate),
        std::tuple("total_request_rate", "request_rate", &command.total_request_rate,
                   &ShipOptions::request_rate)}) {
    if (text->empty()) {
      continue;
    }
    const Status parsed = FindOption(option)->parse(*text, scratch);
    if (!parsed.ok()) {
      return InvalidArgumentError("option '" + std::string(name) + "': " + parsed.message());
    }
    (value == &ShipOptions::upload_rate ? limits.bytes_per_second : limits.requests_per_second) =
        scratch.ship.*value;
  }
  return limits;
}

// Ships what there is, and nothing that comes later.
int RunOnce(const DatabaseSpec& spec, const std::shared_ptr<RateLimiter>& limits, Logger& log) {
  FileClaims claims;
  DatabaseTask task(spec, claims, log, nullptr, limits);
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
  log.Write(LogLevel::kInfo, spec.path, "shipped up to TXID " + FormatTxid(txid), {.txid = txid});
  return 0;
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

// What a directory has now, those first that cannot be shipped.
std::vector<Result<DatabaseSpec>> DatabasesNow(const DirectorySpec& directory) {
  FileClaims claims;
  const DirectoryScan scan =
      ScanDirectory(directory, claims, [](const std::string&) { return false; });
  std::vector<Result<DatabaseSpec>> specs;
  if (!scan.status.ok()) {
    specs.emplace_back(scan.status);
  }
  for (const std::string& relative : scan.databases) {
    specs.push_back(DatabaseSpecIn(directory, scan.root, relative));
  }
  return specs;
}

int RunAllOnce(const AgentConfig& config, const RateLimits& limits, Logger& log) {
  int code = 0;
  const auto limiter = std::make_shared<RateLimiter>(limits);
  auto run = [&](const Result<DatabaseSpec>& spec) {
    const int one = spec.ok() ? RunOnce(*spec, limiter, log) : Fail(spec.status());
    code = code == 0 ? one : code;
  };
  for (const DatabaseSpec& spec : config.databases) {
    run(spec);
  }
  for (const DirectorySpec& directory : config.directories) {
    for (const auto& spec : DatabasesNow(directory)) {
      run(spec);
    }
  }
  return code;
}

// A flag wins over the file, and the file over the environment.
void Complete(const AgentConfig& config, RunCommand& command) {
  for (const auto& [told, file, variable] :
       {std::tuple(&command.metrics, &config.metrics, "SQLITE_S3_AGENT_METRICS"),
        std::tuple(&command.control, &config.control, "SQLITE_S3_AGENT_CONTROL"),
        std::tuple(&command.total_upload_rate, &config.total_upload_rate,
                   "SQLITE_S3_AGENT_TOTAL_UPLOAD_RATE"),
        std::tuple(&command.total_request_rate, &config.total_request_rate,
                   "SQLITE_S3_AGENT_TOTAL_REQUEST_RATE"),
        std::tuple(&command.log_format, &config.log_format, "SQLITE_S3_AGENT_LOG_FORMAT"),
        std::tuple(&command.log_level, &config.log_level, "SQLITE_S3_AGENT_LOG_LEVEL"),
        std::tuple(&command.heartbeat_url, &config.heartbeat_url, "SQLITE_S3_AGENT_HEARTBEAT_URL"),
        std::tuple(&command.heartbeat_interval, &config.heartbeat_interval,
                   "SQLITE_S3_AGENT_HEARTBEAT_INTERVAL")}) {
    if (told->empty()) {
      *told = *file;
    }
    if (const char* value = getenv(variable); told->empty() && value != nullptr) {
      *told = value;
    }
  }
}

// `running`: what the agent has, some of it from its start and for good.
Status Reload(const RunCommand& flags, RunCommand& running, Agent& agent, Overseer& overseer,
              Logger& log) {
  ASSIGN_OR_RETURN(const AgentConfig config, LoadAgentConfig(flags.config));
  RunCommand command = flags;
  Complete(config, command);
  for (const auto& [key, same] : {std::pair("control", command.control == running.control),
                                  std::pair("metrics", command.metrics == running.metrics)}) {
    if (!same) {
      return FailedPreconditionError("'" + std::string(key) +
                                     "' cannot change while the agent runs, hint: start it again");
    }
  }
  // What can be wrong comes before anything is changed.
  Logger unused;
  RETURN_IF_ERROR(ConfigureLog(command, unused));
  ASSIGN_OR_RETURN(const RateLimits limits, TotalLimits(command));
  ASSIGN_OR_RETURN(std::unique_ptr<Heartbeat> heartbeat, MakeHeartbeat(command, log));
  RETURN_IF_ERROR(agent.Apply(config.databases, config.directories));
  agent.SetLimits(limits);
  agent.SetPrices(config.prices);
  if (command.heartbeat_url != running.heartbeat_url ||
      command.heartbeat_interval != running.heartbeat_interval) {
    overseer.SetHeartbeat(std::move(heartbeat));
  }
  running = command;
  return ConfigureLog(command, log);
}

}  // namespace

int RunCheckConfig(const std::string& path) {
  const auto config = LoadAgentConfig(path);
  if (!config.ok()) {
    return Fail(config.status());
  }
  RunCommand settings;
  settings.log_format = config->log_format;
  settings.log_level = config->log_level;
  settings.heartbeat_url = config->heartbeat_url;
  settings.heartbeat_interval = config->heartbeat_interval;
  settings.total_upload_rate = config->total_upload_rate;
  settings.total_request_rate = config->total_request_rate;
  Logger log;
  Status valid = ConfigureLog(settings, log);
  if (valid.ok()) {
    valid = MakeHeartbeat(settings, log).status();
  }
  if (valid.ok()) {
    valid = TotalLimits(settings).status();
  }
  if (valid.ok() && !config->metrics.empty()) {
    valid = CheckMetricsAddress(config->metrics);
  }
  if (!valid.ok()) {
    return Fail(valid.WithContext(path));
  }
  auto print = [](const DatabaseSpec& spec) {
    std::puts((spec.path + " -> " + spec.replica_url).c_str());
    std::puts(FormatShipOptions(spec.replica.ship).c_str());
  };
  for (const DatabaseSpec& spec : config->databases) {
    print(spec);
  }
  for (const DirectorySpec& directory : config->directories) {
    std::puts(("directory " + directory.path + " -> " + directory.replica).c_str());
    for (const auto& spec : DatabasesNow(directory)) {
      if (!spec.ok()) {
        return Fail(spec.status());
      }
      print(*spec);
    }
  }
  return 0;
}

int RunAgent(RunCommand command) {
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
  const RunCommand flags = command;
  Complete(config, command);
  Logger log;
  if (const Status status = ConfigureLog(command, log); !status.ok()) {
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
  const auto limits = TotalLimits(command);
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
  if (!command.control.empty()) {
    auto listening = ControlServer::Listen(command.control, **agent);
    if (!listening.ok()) {
      return Fail(listening.status());
    }
    control = std::move(listening).value();
    (*agent)->AddSource(control->fd(), [&] { control->Accept(); });
  }
  auto heartbeat = MakeHeartbeat(command, log);
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
    (*agent)->SetReload(command.config, [&, running = command]() mutable {
      (*overseer)->service().Reloading();
      const Status reloaded = Reload(flags, running, **agent, **overseer, log);
      (*overseer)->service().Ready();
      return reloaded;
    });
  }
  std::unique_ptr<MetricsListener> metrics;
  if (!command.metrics.empty()) {
    auto started = ServeMetrics(command.metrics, **agent);
    if (!started.ok()) {
      return Fail(started.status());
    }
    metrics = std::move(started).value();
    log.Write(LogLevel::kInfo, "", "metrics at port " + std::to_string(metrics->port()));
  }
  std::optional<Child> child;
  Status child_started;
  auto start_child = [&] {
    if (command.command.empty() || child || !child_started.ok()) {
      return;
    }
    auto started = Child::Start(command.command);
    if (started.ok()) {
      child = *started;
    } else {
      child_started = started.status();
      (*agent)->Stop();
    }
    RaiseDescriptorLimit();
  };
  // Not before its database was looked at: what a quick command commits and checkpoints away at its
  // end would be no commits of this replica, but a database that nobody knows.
  (*agent)->OnAllAttended([&] {
    (*overseer)->Ready();
    start_child();
  });
  auto patience = command.command.empty() ? Result<Fd>(Fd()) : StartTimer(kChildPatienceSeconds);
  if (!patience.ok()) {
    return Fail(patience.status());
  }
  if (patience->valid()) {
    (*agent)->AddSource(patience->get(), [&] {
      uint64_t times = 0;
      (void)!read(patience->get(), &times, sizeof(times));
      if (!child && child_started.ok()) {
        log.Write(
            LogLevel::kWarning, "",
            "the command begins before its database was looked at: the store does not answer");
        start_child();
      }
    });
  }
  (*agent)->AddSource(signals->get(), [&] {
    signalfd_siginfo info{};
    while (read(signals->get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      if (info.ssi_signo == SIGCHLD) {
        if (child && child->HasEnded()) {
          (*agent)->Stop();
        }
      } else if (child) {
        // What the terminal sends, it sends to the child too.
        if (info.ssi_code != SI_KERNEL) {
          child->Signal(static_cast<int>(info.ssi_signo));
        }
      } else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
        (*agent)->Stop();
      } else if (info.ssi_signo == SIGHUP && !command.config.empty()) {
        (void)(*agent)->Reload();  // what is wrong is in the log and the status
      }
    }
  });
  if (command.command.empty()) {
    RaiseDescriptorLimit();
  }
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
      (*agent)->StopAll(child.has_value(), &abandoned);  // it may have been quick
  const int code = !child_started.ok()                ? Fail(child_started)
                   : child && child->exit_code() != 0 ? child->exit_code()
                   : stopped.ok()                     ? 0
                                                      : ExitCodeFor(stopped.code());
  if (abandoned) {
    log.Write(LogLevel::kWarning, "", stopped.message());
    if (!command.control.empty()) {
      unlink(command.control.c_str());
    }
    _exit(code);
  }
  control.reset();
  metrics.reset();
  return code;
}

}  // namespace sqlite_s3
