#include "agent/daemon/control_requests.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent/daemon/health.h"
#include "agent/daemon/task_pool.h"
#include "agent/daemon/verify.h"
#include "common/base/exit_codes.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::ordered_json;

constexpr size_t kSyncThreads = 32;
constexpr int64_t kDefaultTimeoutMs = 60'000;
constexpr int64_t kMostTimeoutMs = 24 * 3600 * 1000;

Json ErrorJson(const Status& status) {
  return {{"error",
           {{"code", StatusCodeName(status.code())},
            {"exit_code", ExitCodeFor(status.code())},
            {"message", status.message()}}}};
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

bool Flag(const nlohmann::json& request, const char* name) {
  const auto at = request.find(name);
  return at != request.end() && at->is_boolean() && at->get<bool>();
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
    const std::string path = Text(request, "database");
    if (!path.starts_with('/')) {
      return InvalidArgumentError("a database's path must be absolute");
    }
    ASSIGN_OR_RETURN(DatabaseSpec spec,
                     MakeDatabaseSpec(path, Text(request, "replica"), Text(request, "options")));
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
          return task->IsClosed() || !task->paused();
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
    return VerifyDatabase(task->spec(), engine.get(), Timeout(request),
                          [&](milliseconds pause) { return agent.Pause(pause); });
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
  if (!request.is_object()) {
    return ErrorJson(InvalidArgumentError("a request is a JSON object"));
  }
  auto done = Do(agent, request);
  return done.ok() ? Json{{"ok", std::move(done).value()}} : ErrorJson(done.status());
}

}  // namespace sqlite_s3
