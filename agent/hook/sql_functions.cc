#include "agent/hook/sql_functions.h"

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "agent/hook/attach_all.h"
#include "agent/hook/hooked_connection.h"
#include "agent/hook/registry.h"
#include "agent/hook/sqlite_s3.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDefaultTimeout = std::chrono::seconds(30);
constexpr milliseconds kDefaultImageTimeout = std::chrono::hours(24);
constexpr double kLongestTimeoutSeconds = 10.0 * 365 * 24 * 3600;

// One call of a function. Arguments are SQLite's, valid during the call.
struct Call {
  sqlite3* db;
  std::span<sqlite3_value*> arguments;

  bool Has(size_t i) const {
    return i < arguments.size() && sqlite3_value_type(arguments[i]) != SQLITE_NULL;
  }
  std::string Text(size_t i) const {
    if (!Has(i)) {
      return {};
    }
    const unsigned char* text = sqlite3_value_text(arguments[i]);
    return text == nullptr ? std::string()
                           : std::string(reinterpret_cast<const char*>(text),
                                         static_cast<size_t>(sqlite3_value_bytes(arguments[i])));
  }
  Result<milliseconds> Timeout(size_t i, milliseconds fallback) const {
    if (!Has(i)) {
      return fallback;
    }
    // Asked before the text: '30' means 30 seconds as 30 does.
    int type = sqlite3_value_numeric_type(arguments[i]);
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT) {
      return ParseDuration(Text(i));
    }
    double seconds = sqlite3_value_double(arguments[i]);
    if (!(seconds >= 0 && seconds <= kLongestTimeoutSeconds)) {
      return InvalidArgumentError("a timeout of " + Text(i) +
                                  " seconds, hint: from 0 to ten years");
    }
    return milliseconds(static_cast<int64_t>(seconds * 1000));
  }
};

// The connection's database, shipped through this or another connection of the process.
Result<std::shared_ptr<SharedEngine>> FindShared(sqlite3* db) {
  HookedConnection* connection = HookedConnection::Find(db);
  std::shared_ptr<SharedEngine> shared = connection != nullptr && connection->attached()
                                             ? connection->shared()
                                             : Registry::Get().Find(MainDatabasePath(db));
  if (shared == nullptr) {
    return FailedPreconditionError("this database is not being shipped, hint: s3_start(url)");
  }
  return shared;
}

Status CheckNotWriting(sqlite3* db) {
  if (InWriteTransaction(db)) {
    return FailedPreconditionError(
        "a write transaction is open, whose commit could be waited for in vain, hint: COMMIT "
        "first");
  }
  return Status::Ok();
}

void CheckHook(sqlite3* db) {
  if (HookedConnection* connection = HookedConnection::Find(db)) {
    connection->CheckHook();
  }
}

void OnNewConnection(sqlite3* db) { (void)RegisterSqlFunctions(db); }  // it works without them

Result<std::string> StartFunction(const Call& call) {
  if (!call.Has(0)) {
    return InvalidArgumentError("the url is NULL");
  }
  ShipRequest request;
  ASSIGN_OR_RETURN(request.config, ParseReplicaConfig(call.Text(0), call.Text(1)));
  ASSIGN_OR_RETURN(request.database, InspectConnection(call.db));
  ASSIGN_OR_RETURN(HookedConnection * connection, HookedConnection::Attach(call.db, request));
  if (request.config.ship.attach_all) {
    RETURN_IF_ERROR(StartAttachAll({request, /*restart=*/true}, OnNewConnection));
  }
  return std::string(EngineStateName(connection->shared()->engine()->GetStatus(false).state));
}

Result<std::string> SyncFunction(const Call& call) {
  RETURN_IF_ERROR(CheckNotWriting(call.db));
  ASSIGN_OR_RETURN(milliseconds timeout, call.Timeout(0, kDefaultTimeout));
  ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared, FindShared(call.db));
  ASSIGN_OR_RETURN(Engine * engine, shared->LiveEngine());
  Txid txid;
  RETURN_IF_ERROR(engine->Sync(timeout, &txid));
  CheckHook(call.db);
  return FormatTxid(txid);
}

Result<std::string> WaitFunction(const Call& call) {
  if (!call.Has(0)) {
    return SyncFunction({call.db, call.arguments.subspan(call.arguments.size() > 1 ? 1 : 0)});
  }
  RETURN_IF_ERROR(CheckNotWriting(call.db));
  ASSIGN_OR_RETURN(Txid txid, ParseTxid(call.Text(0)));
  ASSIGN_OR_RETURN(milliseconds timeout, call.Timeout(1, kDefaultTimeout));
  ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared, FindShared(call.db));
  ASSIGN_OR_RETURN(Engine * engine, shared->LiveEngine());
  RETURN_IF_ERROR(engine->Wait(txid, timeout));
  CheckHook(call.db);
  return FormatTxid(txid);
}

Result<std::string> MarkFunction(const Call& call) {
  RETURN_IF_ERROR(CheckNotWriting(call.db));
  ASSIGN_OR_RETURN(milliseconds timeout, call.Timeout(1, kDefaultTimeout));
  ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared, FindShared(call.db));
  ASSIGN_OR_RETURN(Engine * engine, shared->LiveEngine());
  ASSIGN_OR_RETURN(Txid txid, engine->Mark(call.Text(0), timeout));
  CheckHook(call.db);
  return FormatTxid(txid);
}

Result<std::string> ImageFunction(const Call& call) {
  RETURN_IF_ERROR(CheckNotWriting(call.db));
  ASSIGN_OR_RETURN(milliseconds timeout, call.Timeout(0, kDefaultImageTimeout));
  ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared, FindShared(call.db));
  ASSIGN_OR_RETURN(Engine * engine, shared->LiveEngine());
  ASSIGN_OR_RETURN(Txid txid, engine->MakeImage(timeout));
  CheckHook(call.db);
  return FormatTxid(txid);
}

Result<std::string> StatusFunction(const Call& call) {
  Result<std::shared_ptr<SharedEngine>> shared = FindShared(call.db);
  Result<Engine*> engine = shared.ok() ? (*shared)->LiveEngine() : shared.status();
  if (!engine.ok()) {
    EngineStatus stopped;
    stopped.database = MainDatabasePath(call.db);
    stopped.sqlite_version = sqlite3_libversion();
    stopped.last_error = engine.status().message();
    return FormatStatusJson(stopped);
  }
  // The capture comes first: whether the hook is displaced shows in what capture found.
  const bool current = (*engine)->GetStatus(/*force_capture=*/true).txid_current;
  CheckHook(call.db);
  EngineStatus status = (*engine)->GetStatus(/*force_capture=*/false);
  status.txid_current = current;
  return FormatStatusJson(status);
}

Result<std::string> StopFunction(const Call& call) {
  RETURN_IF_ERROR(CheckNotWriting(call.db));
  const std::string stopped = EngineStateName(EngineState::kStopped);
  Result<std::shared_ptr<SharedEngine>> shared = FindShared(call.db);
  if (!shared.ok()) {
    return stopped;
  }
  const ShipOptions options = (*shared)->request().config.ship;
  // With attach=all no connection was attached by itself, so that none goes by itself.
  const bool everybody = Registry::Get().HasAttachAll(MainDatabasePath(call.db));
  Registry::Get().ClearAttachAll(MainDatabasePath(call.db));
  HookedConnection* connection = HookedConnection::Find(call.db);
  Status flushed;
  if (connection != nullptr && connection->attached()) {
    flushed = connection->Detach(options.close_timeout, everybody);
  } else if (everybody) {
    flushed = (*shared)->End(options.close_timeout);
  }
  if (!flushed.ok()) {
    return flushed.WithContext("stopped before the replica had everything");
  }
  Result<Engine*> engine = (*shared)->LiveEngine();
  return engine.ok() ? EngineStateName((*engine)->GetStatus(false).state) : stopped;
}

Result<std::string> TagFunction(const Call& call) {
  const std::string tag = call.Text(0);
  if (HookedConnection* connection = HookedConnection::Find(call.db)) {
    RETURN_IF_ERROR(connection->SetTag(tag));
  }
  return tag;
}

Result<std::string> VersionFunction(const Call&) { return std::string(SQLITE_S3_VERSION); }

int SqliteCode(StatusCode code) {
  switch (code) {
    case StatusCode::kDeadlineExceeded:
      return SQLITE_BUSY;
    case StatusCode::kPermissionDenied:
      return SQLITE_PERM;
    default:
      return SQLITE_ERROR;
  }
}

void ReportError(sqlite3_context* context, const char* message, int code) {
  sqlite3_result_error(context, message, -1);
  if (code != SQLITE_ERROR) {
    sqlite3_result_error_code(context, code);
  }
}

template <Result<std::string> (*kFunction)(const Call&)>
void Invoke(sqlite3_context* context, int count, sqlite3_value** values) {
  const char* name = static_cast<const char*>(sqlite3_user_data(context));
  try {
    Call call{sqlite3_context_db_handle(context), {values, static_cast<size_t>(count)}};
    Result<std::string> result = kFunction(call);
    if (result.ok()) {
      sqlite3_result_text(context, result->data(), static_cast<int>(result->size()),
                          SQLITE_TRANSIENT);
    } else {
      std::string message = std::string(name) + ": " + result.status().message();
      ReportError(context, message.c_str(), SqliteCode(result.code()));
    }
  } catch (const std::exception& e) {
    ReportError(context, e.what(), SQLITE_ERROR);
  } catch (...) {
    ReportError(context, name, SQLITE_ERROR);
  }
}

struct Function {
  const char* name;
  int least_arguments;
  int most_arguments;
  void (*function)(sqlite3_context*, int, sqlite3_value**);
};

constexpr Function kFunctions[] = {
    {"s3_start", 1, 2, Invoke<StartFunction>}, {"s3_sync", 0, 1, Invoke<SyncFunction>},
    {"s3_wait", 0, 2, Invoke<WaitFunction>},   {"s3_mark", 1, 2, Invoke<MarkFunction>},
    {"s3_image", 0, 1, Invoke<ImageFunction>}, {"s3_status", 0, 0, Invoke<StatusFunction>},
    {"s3_stop", 0, 0, Invoke<StopFunction>},   {"s3_version", 0, 0, Invoke<VersionFunction>},
    {"s3_tag", 1, 1, Invoke<TagFunction>},
};

}  // namespace

int RegisterSqlFunctions(sqlite3* db) {
  for (const Function& f : kFunctions) {
    for (int arguments = f.least_arguments; arguments <= f.most_arguments; ++arguments) {
      int rc = sqlite3_create_function_v2(db, f.name, arguments, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                          const_cast<char*>(f.name), f.function, nullptr, nullptr,
                                          nullptr);
      // Busy: the function is there already, and a statement runs, say the one that loads this
      // extension for the second time.
      if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        return rc;
      }
    }
  }
  return SQLITE_OK;
}

}  // namespace sqlite_s3
