#include "agent/daemon/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "agent/daemon/health.h"
#include "agent/daemon/verify.h"
#include "common/base/exit_codes.h"
#include "common/config/environment.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::ordered_json;

constexpr size_t kControlThreads = 8;
constexpr size_t kSyncThreads = 32;
constexpr size_t kMostRequestBytes = 64 << 10;
constexpr size_t kMostAnswerBytes = 256 << 20;
constexpr time_t kRequestSeconds = 5;
constexpr int64_t kDefaultTimeoutMs = 60'000;
constexpr int64_t kMostTimeoutMs = 24 * 3600 * 1000;
constexpr int kBacklog = 16;

Json ErrorJson(const Status& status) {
  return {{"error",
           {{"code", StatusCodeName(status.code())},
            {"exit_code", ExitCodeFor(status.code())},
            {"message", status.message()}}}};
}

Result<sockaddr_un> AddressOfSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return InvalidArgumentError("'" + path + "' cannot be the path of a socket, hint: at most " +
                                std::to_string(sizeof(address.sun_path) - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> Connect(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOfSocket(path));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "socket");
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) {
      return NotFoundError("no agent listens at '" + path + "'");
    }
    return ErrnoStatus(errno, "connect to", path);
  }
  return fd;
}

// Up to a newline (kept out), the end, or too many bytes.
Result<std::string> ReadLine(const Fd& fd, size_t most) {
  std::string line;
  char buffer[4096];
  for (;;) {
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return ErrnoStatus(errno, "read from", "control socket");
    }
    line.append(buffer, static_cast<size_t>(got));
    const size_t end = line.find('\n');
    if (end != std::string::npos) {
      line.resize(end);
      return line;
    }
    if (got == 0) {
      return InvalidArgumentError("the connection ended in the middle of a line");
    }
    if (line.size() > most) {
      return ResourceExhaustedError("a line is too long");
    }
  }
}

void SendLine(const Fd& fd, const Json& json) {
  const std::string line =
      json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = send(fd.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) {
      return;  // whoever asked is gone
    }
    sent += n > 0 ? static_cast<size_t>(n) : 0;
  }
}

std::string Text(const nlohmann::json& request, const char* name) {
  const auto at = request.find(name);
  return at != request.end() && at->is_string() ? at->get<std::string>() : std::string();
}

milliseconds Timeout(const nlohmann::json& request) {
  const auto at = request.find("timeout_ms");
  const int64_t asked =
      at != request.end() && at->is_number_integer() ? at->get<int64_t>() : kDefaultTimeoutMs;
  return milliseconds(std::clamp<int64_t>(asked, 0, kMostTimeoutMs));
}

// The database that is named, or the only one.
Result<std::shared_ptr<DatabaseTask>> Named(Agent& agent, const nlohmann::json& request) {
  const std::string path = Text(request, "database");
  if (path.empty()) {
    const auto all = agent.All();
    if (all.size() != 1) {
      return InvalidArgumentError("which database? the agent has " + std::to_string(all.size()) +
                                  ", hint: name one, or sync --all");
    }
    return all.front();
  }
  auto task = agent.Find(path);
  if (!task) {
    return NotFoundError("database '" + path + "' is not shipped by this agent");
  }
  return task;
}

// A database that is just starting, after `resume` for instance, is waited for.
Result<std::shared_ptr<Engine>> EngineOf(Agent& agent, const DatabaseTask& task,
                                         milliseconds timeout) {
  std::shared_ptr<Engine> engine;
  (void)agent.AwaitAttended(timeout, [&] {
    engine = task.engine();
    return engine || task.paused() || !task.waiting().ok();
  });
  if (!engine) {
    const Status why = task.waiting();
    return FailedPreconditionError("database '" + task.spec().path + "' is not shipped now: " +
                                   (task.paused() ? "paused"
                                    : why.ok()    ? "just starting"
                                                  : why.message()));
  }
  return engine;
}

bool Flag(const nlohmann::json& request, const char* name) {
  const auto at = request.find(name);
  return at != request.end() && at->is_boolean() && at->get<bool>();
}

Result<Json> StatusOf(Agent& agent, const std::string& only) {
  Json databases = Json::array();
  std::vector<DatabaseStatus> statuses;
  for (const auto& task : agent.All()) {
    if (only.empty() || only == task->spec().path) {
      statuses.push_back(task->GetStatus(false));
      databases.push_back(Json::parse(FormatDatabaseStatusJson(statuses.back(), agent.prices())));
    }
  }
  if (!only.empty() && databases.empty()) {
    return NotFoundError("database '" + only + "' is not shipped by this agent");
  }
  const Health health = HealthOf(statuses);
  Json status{
      {"ok", health.ok()}, {"summary", FormatHealth(health)}, {"databases", std::move(databases)}};
  Json& directories = status["directories"] = Json::array();
  for (const DirectoryStatus& directory : agent.GetDirectoryStatus()) {
    directories.push_back({{"path", directory.path},
                           {"watched", directory.watched},
                           {"databases", directory.databases},
                           {"last_error", directory.last_error}});
  }
  Json& refused = status["refused"] = Json::array();
  for (const auto& [path, why] : agent.GetRefused()) {
    refused.push_back({{"database", path}, {"why", why}});
  }
  const ConfigStatus config = agent.GetConfigStatus();
  status["config"] = {{"file", config.file}, {"loads", config.loads}, {"refused", config.refused}};
  return status;
}

// With `wait`: when it returns, the store has every commit made before. Else it is only asked for.
Result<Json> SyncOne(Agent& agent, const DatabaseTask& task, milliseconds timeout, bool wait) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Engine> engine,
                   EngineOf(agent, task, wait ? timeout : milliseconds(0)));
  Txid txid;
  const Status synced = engine->Sync(wait ? timeout : milliseconds(0), &txid);
  if (!wait && synced.code() == StatusCode::kDeadlineExceeded) {
    txid = engine->GetStatus(true).txid;
  } else {
    RETURN_IF_ERROR(synced);
  }
  return Json{{"database", task.spec().path}, {"txid", FormatTxid(txid)}};
}

// All at once: the timeout is one for all. The first failure is the answer's exit code; the others
// are there, too.
Json SyncAll(Agent& agent, milliseconds timeout, bool wait) {
  const auto tasks = agent.All();
  std::vector<Json> answers(tasks.size());
  {
    TaskPool pool(kSyncThreads);
    const auto since = std::chrono::steady_clock::now();
    for (size_t i = 0; i < tasks.size(); ++i) {
      pool.Post([&, i] {
        const auto gone =
            std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - since);
        auto done = SyncOne(agent, *tasks[i], std::max(timeout - gone, milliseconds(0)), wait);
        if (done.ok()) {
          answers[i] = std::move(done).value();
        } else {
          answers[i] = ErrorJson(done.status());
          answers[i]["database"] = tasks[i]->spec().path;
        }
      });
    }
  }
  Json all{{"databases", answers}};
  for (const Json& answer : answers) {
    if (answer.contains("error")) {
      all["exit_code"] = answer["error"]["exit_code"];
      break;
    }
  }
  return all;
}

Result<Json> Do(Agent& agent, const nlohmann::json& request) {
  const std::string command = Text(request, "command");
  if (command == "status") {
    return StatusOf(agent, Text(request, "database"));
  }
  if (command == "sync" && Flag(request, "all")) {
    return SyncAll(agent, Timeout(request), !Flag(request, "no_wait"));
  }
  if (command == "reload") {
    RETURN_IF_ERROR(agent.Reload());
    return Json{{"loads", agent.GetConfigStatus().loads}};
  }
  if (command == "add") {
    DatabaseSpec spec;
    spec.path = Text(request, "database");
    if (!spec.path.starts_with('/')) {
      return InvalidArgumentError("a database's path must be absolute");
    }
    spec.replica_url = Text(request, "replica");
    ASSIGN_OR_RETURN(const ReplicaConfig environment, EnvironmentDefaults());
    ASSIGN_OR_RETURN(spec.replica,
                     ParseReplicaConfig(spec.replica_url, Text(request, "options"), environment));
    const std::string path = spec.path;
    RETURN_IF_ERROR(agent.Add(std::move(spec)));
    return Json{{"database", path}};
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<DatabaseTask> task, Named(agent, request));
  const std::string path = task->spec().path;
  if (command == "remove") {
    RETURN_IF_ERROR(agent.Remove(path));
    return Json{{"database", path}};
  }
  if (command == "pause" || command == "resume") {
    command == "pause" ? task->Pause() : task->Resume();
    agent.AttendSoon(path);
    // Once it is said to be paused, the application's last close leaves one file.
    if (command == "pause" && !agent.AwaitAttended(Timeout(request), [&] {
          return !task->engine() || !task->paused();
        })) {
      return DeadlineExceededError("database '" + path +
                                   "' is not closed yet, hint: see its state");
    }
    return Json{{"database", path}};
  }
  if (command == "sync") {
    return SyncOne(agent, *task, Timeout(request), !Flag(request, "no_wait"));
  }
  if (command == "verify") {
    ASSIGN_OR_RETURN(const std::shared_ptr<Engine> engine,
                     EngineOf(agent, *task, Timeout(request)));
    return VerifyDatabase(task->spec(), engine.get(), Timeout(request));
  }
  if (command != "image" && command != "mark") {
    return InvalidArgumentError("unknown command '" + command + "'");
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<Engine> engine, EngineOf(agent, *task, Timeout(request)));
  Txid txid;
  if (command == "image") {
    ASSIGN_OR_RETURN(txid, engine->MakeImage(Timeout(request)));
  } else {
    ASSIGN_OR_RETURN(txid, engine->Mark(Text(request, "name"), Timeout(request)));
  }
  return Json{{"database", path}, {"txid", FormatTxid(txid)}};
}

}  // namespace

Json Answer(Agent& agent, const nlohmann::json& request) {
  auto done = Do(agent, request);
  return done.ok() ? Json{{"ok", std::move(done).value()}} : ErrorJson(done.status());
}

Result<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& path,
                                                             Agent& agent) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOfSocket(path));
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) {
      return FailedPreconditionError("'" + path + "' is there and is not a socket");
    }
    if (Connect(path).ok()) {
      return FailedPreconditionError("another agent listens at '" + path + "'");
    }
    if (unlink(path.c_str()) != 0) {
      return ErrnoStatus(errno, "remove", path);
    }
  }
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "socket");
  }
  // Never visible with other modes, not even for a moment.
  const mode_t before = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_errno = errno;
  umask(before);
  if (bound != 0) {
    return ErrnoStatus(bind_errno, "make socket", path);
  }
  if (listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, "listen on", path);
  }
  return std::unique_ptr<ControlServer>(new ControlServer(path, std::move(fd), agent));
}

ControlServer::ControlServer(std::string path, Fd fd, Agent& agent)
    : path_(std::move(path)), fd_(std::move(fd)), agent_(agent), pool_(kControlThreads) {}

ControlServer::~ControlServer() {
  unlink(path_.c_str());
  fd_.Close();
  pool_.Finish();
}

void ControlServer::Accept() {
  Fd connection(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) {
    return;
  }
  // The mode keeps others out; this also holds where somebody changed it.
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != geteuid() && peer.uid != 0)) {
    return;
  }
  auto shared = std::make_shared<Fd>(std::move(connection));
  pool_.Post([this, shared] { Serve(std::move(*shared)); });
}

void ControlServer::Serve(Fd connection) {
  const timeval patience{kRequestSeconds, 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  const auto line = ReadLine(connection, kMostRequestBytes);
  if (!line.ok()) {
    return;
  }
  const nlohmann::json request = nlohmann::json::parse(*line, nullptr, false);
  SendLine(connection, request.is_object()
                           ? Answer(agent_, request)
                           : ErrorJson(InvalidArgumentError("a request is a JSON object")));
}

Result<Json> AskAgent(const std::string& path, const nlohmann::json& request) {
  ASSIGN_OR_RETURN(const Fd fd, Connect(path));
  SendLine(fd, request);
  ASSIGN_OR_RETURN(const std::string line, ReadLine(fd, kMostAnswerBytes));
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object()) {
    return InternalError("the agent's answer is not JSON");
  }
  return answer;
}

}  // namespace sqlite_s3
