// The C ABI. Every function: check arguments, do it, turn a Status into a code and a message, and
// let no exception out.

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "agent/hook/attach_all.h"
#include "agent/hook/c_error.h"
#include "agent/hook/hooked_connection.h"
#include "agent/hook/log.h"
#include "agent/hook/registry.h"
#include "agent/hook/sqlite_s3.h"
#include "common/base/ids.h"

struct sqlite_s3_handle {
  std::shared_ptr<sqlite_s3::SharedEngine> shared;
};

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

// "Without a bound", short of overflow when it is added to a clock.
constexpr milliseconds kForever = std::chrono::hours(24 * 365 * 10);

milliseconds Timeout(int timeout_ms) {
  return timeout_ms < 0 ? kForever : milliseconds(timeout_ms);
}

Status RequireNotNull(const void* pointer, const char* name) {
  return pointer != nullptr ? Status::Ok()
                            : InvalidArgumentError(std::string("the ") + name + " is NULL");
}

// Holds the connection's own mutex, which SQLite lends for this: no other thread uses the
// connection while its hook and its functions are changed. (A connection without one is one
// thread's only.)
class ConnectionLock {
 public:
  explicit ConnectionLock(sqlite3* db) : mutex_(sqlite3_db_mutex(db)) {
    sqlite3_mutex_enter(mutex_);
  }
  ~ConnectionLock() { sqlite3_mutex_leave(mutex_); }
  ConnectionLock(const ConnectionLock&) = delete;
  ConnectionLock& operator=(const ConnectionLock&) = delete;

 private:
  sqlite3_mutex* mutex_;
};

// The path as SQLite would name it: absolute, symbolic links resolved.
Result<HostDatabase> DatabaseAt(const char* db_path) {
  RETURN_IF_ERROR(CheckHost());
  char* resolved = realpath(db_path, nullptr);
  if (resolved == nullptr) {
    return NotFoundError(std::string("cannot find database '") + db_path +
                         "': " + std::strerror(errno) + ", hint: create it first, in WAL mode");
  }
  HostDatabase database;
  database.path = resolved;
  std::free(resolved);
  if (const sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr)) {
    database.vfs = vfs->zName;
  }
  ASSIGN_OR_RETURN(database.file, IdentifyFile(database.path));
  return database;
}

Status AttachAllOf(const SharedEngine& shared) {
  return StartAttachAll({shared.request(), /*restart=*/false}, nullptr);
}

Status Open(const ShipRequest& request, sqlite_s3_handle** handle) {
  auto opened = std::make_unique<sqlite_s3_handle>();
  {
    ForkGate::Operation operation(Registry::Get().fork_gate());
    ASSIGN_OR_RETURN(opened->shared, Registry::Get().Acquire(request, {ShipUser::Kind::kHandle}));
  }
  if (request.config.ship.attach_all) {
    Status status = AttachAllOf(*opened->shared);
    if (!status.ok()) {
      (void)opened->shared->Leave({ShipUser::Kind::kHandle}, milliseconds(0), false);  // as before
      return status;
    }
  }
  *handle = opened.release();
  return Status::Ok();
}

Status Attach(SharedEngine& shared, sqlite3* db) {
  RETURN_IF_ERROR(shared.LiveEngine().status());
  ConnectionLock lock(db);
  ShipRequest request = shared.request();
  ASSIGN_OR_RETURN(request.database, InspectConnection(db));
  if (request.database.path != shared.database().path) {
    return InvalidArgumentError("the connection is to database '" + request.database.path +
                                "', the handle to '" + shared.database().path + "'");
  }
  return HookedConnection::Attach(db, request).status();
}

}  // namespace
}  // namespace sqlite_s3

using namespace sqlite_s3;  // NOLINT: the functions below are the C face of this namespace

int sqlite_s3_open(const char* db_path, const char* url, const char* options,
                   sqlite_s3_handle** handle) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    *handle = nullptr;
    RETURN_IF_ERROR(RequireNotNull(db_path, "database's path"));
    RETURN_IF_ERROR(RequireNotNull(url, "url"));
    ShipRequest request;
    ASSIGN_OR_RETURN(request.config, ParseReplicaConfig(url, options != nullptr ? options : ""));
    ASSIGN_OR_RETURN(request.database, DatabaseAt(db_path));
    return Open(request, handle);
  });
}

int sqlite_s3_open_connection(sqlite3* db, const char* url, const char* options,
                              sqlite_s3_handle** handle) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    *handle = nullptr;
    RETURN_IF_ERROR(RequireNotNull(db, "connection"));
    RETURN_IF_ERROR(RequireNotNull(url, "url"));
    ShipRequest request;
    ASSIGN_OR_RETURN(request.config, ParseReplicaConfig(url, options != nullptr ? options : ""));
    sqlite_s3_handle* opened = nullptr;
    {
      ConnectionLock lock(db);
      ASSIGN_OR_RETURN(request.database, InspectConnection(db));
    }
    RETURN_IF_ERROR(Open(request, &opened));
    Status status = Attach(*opened->shared, db);
    if (!status.ok()) {
      (void)sqlite_s3_close(opened, 0);  // nothing was shipped through it yet
      return status;
    }
    *handle = opened;
    return Status::Ok();
  });
}

int sqlite_s3_attach(sqlite_s3_handle* handle, sqlite3* db) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    RETURN_IF_ERROR(RequireNotNull(db, "connection"));
    return Attach(*handle->shared, db);
  });
}

int sqlite_s3_detach(sqlite3* db) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(db, "connection"));
    HookedConnection* connection = HookedConnection::Find(db);
    if (connection == nullptr || !connection->attached()) {
      return Status::Ok();
    }
    ConnectionLock lock(db);
    // A handle stays, so that nothing has to be flushed here.
    return connection->Detach(milliseconds(0), false);
  });
}

int sqlite_s3_attach_all(sqlite_s3_handle* handle) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    RETURN_IF_ERROR(handle->shared->LiveEngine().status());
    return AttachAllOf(*handle->shared);
  });
}

int sqlite_s3_notify(sqlite3* db, int frames) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(db, "connection"));
    if (frames < 0) {
      return InvalidArgumentError("a negative number of frames");
    }
    HookedConnection* connection = HookedConnection::Find(db);
    if (connection != nullptr && connection->attached() &&
        connection->shared()->phase() == SharedEngine::Phase::kLive) {
      connection->OnCommit(static_cast<uint32_t>(frames));
    }
    return Status::Ok();
  });
}

int sqlite_s3_trace(unsigned event, void* statement, void* text) {
  return Guard([&]() -> Status {
    if (event != SQLITE_TRACE_STMT) {
      return Status::Ok();
    }
    RETURN_IF_ERROR(RequireNotNull(statement, "statement"));
    RETURN_IF_ERROR(RequireNotNull(text, "text"));
    auto* traced = static_cast<sqlite3_stmt*>(statement);
    if (HookedConnection* connection = HookedConnection::Find(sqlite3_db_handle(traced))) {
      connection->OnStatement(traced, static_cast<const char*>(text));
    }
    return Status::Ok();
  });
}

int sqlite_s3_tag(sqlite3* db, const char* tag) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(db, "connection"));
    ConnectionLock lock(db);
    HookedConnection* connection = HookedConnection::Find(db);
    return connection != nullptr ? connection->SetTag(tag != nullptr ? tag : "") : Status::Ok();
  });
}

int sqlite_s3_step(sqlite3_stmt* statement, const sqlite_s3_value* values, int count) {
  if (values == nullptr || count <= 0) {
    return sqlite3_step(statement);
  }
  const ExactValues exact{statement, {values, static_cast<size_t>(count)}};
  StatementRecorder::SetExact(&exact);
  const int rc = sqlite3_step(statement);
  StatementRecorder::SetExact(nullptr);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    (void)Guard([&]() -> Status {  // what SQLite said is what the caller wants to know
      sqlite3* db = sqlite3_db_handle(statement);
      ConnectionLock lock(db);
      HookedConnection* connection = HookedConnection::Find(db);
      if (connection != nullptr && connection->recorder() != nullptr) {
        connection->recorder()->OnFailure(statement);
      }
      return Status::Ok();
    });
  }
  return rc;
}

int sqlite_s3_sync(sqlite_s3_handle* handle, int timeout_ms, uint64_t* txid) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    Txid last;
    Result<Engine*> engine = handle->shared->LiveEngine();
    Status status = engine.ok() ? (*engine)->Sync(Timeout(timeout_ms), &last) : engine.status();
    if (txid != nullptr) {
      *txid = status.ok() ? last.value : 0;
    }
    return status;
  });
}

int sqlite_s3_wait(sqlite_s3_handle* handle, uint64_t txid, int timeout_ms) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    ASSIGN_OR_RETURN(Engine * engine, handle->shared->LiveEngine());
    return engine->Wait(Txid{txid}, Timeout(timeout_ms));
  });
}

int sqlite_s3_mark(sqlite_s3_handle* handle, const char* name, int timeout_ms, uint64_t* txid) {
  return Guard([&]() -> Status {
    if (txid != nullptr) {
      *txid = 0;
    }
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    RETURN_IF_ERROR(RequireNotNull(name, "name"));
    ASSIGN_OR_RETURN(Engine * engine, handle->shared->LiveEngine());
    ASSIGN_OR_RETURN(Txid marked, engine->Mark(name, Timeout(timeout_ms)));
    if (txid != nullptr) {
      *txid = marked.value;
    }
    return Status::Ok();
  });
}

int sqlite_s3_image(sqlite_s3_handle* handle, int timeout_ms, uint64_t* txid) {
  return Guard([&]() -> Status {
    if (txid != nullptr) {
      *txid = 0;
    }
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    ASSIGN_OR_RETURN(Engine * engine, handle->shared->LiveEngine());
    ASSIGN_OR_RETURN(Txid shown, engine->MakeImage(Timeout(timeout_ms)));
    if (txid != nullptr) {
      *txid = shown.value;
    }
    return Status::Ok();
  });
}

char* sqlite_s3_status(sqlite_s3_handle* handle) {
  char* text = nullptr;
  (void)Guard([&]() -> Status {  // the caller sees NULL, and sqlite_s3_errmsg()
    RETURN_IF_ERROR(RequireNotNull(handle, "handle"));
    EngineStatus status;
    Result<Engine*> engine = handle->shared->LiveEngine();
    if (engine.ok()) {
      status = (*engine)->GetStatus(/*force_capture=*/true);
    } else {
      status.database = handle->shared->database().path;
      status.sqlite_version = sqlite3_libversion();
      status.last_error = engine.status().message();
    }
    std::string json = FormatStatusJson(status);
    text = static_cast<char*>(std::malloc(json.size() + 1));
    if (text == nullptr) {
      throw std::bad_alloc();
    }
    std::memcpy(text, json.c_str(), json.size() + 1);
    return Status::Ok();
  });
  return text;
}

void sqlite_s3_free(void* memory) { std::free(memory); }

int sqlite_s3_close(sqlite_s3_handle* handle, int timeout_ms) {
  return Guard([&]() -> Status {
    std::unique_ptr<sqlite_s3_handle> owned(handle);
    if (owned == nullptr) {
      return Status::Ok();
    }
    Status status = owned->shared->Leave({ShipUser::Kind::kHandle}, Timeout(timeout_ms), false);
    if (owned->shared->phase() == SharedEngine::Phase::kEnded) {
      Registry::Get().ClearAttachAll(owned->shared->database().path);
    }
    return status;
  });
}

const char* sqlite_s3_errmsg(void) { return LastError(); }

int sqlite_s3_set_log(sqlite_s3_log_callback callback, void* context) {
  return Guard([&]() -> Status {
    SetLog(callback, context);
    return Status::Ok();
  });
}

void sqlite_s3_txid_text(uint64_t txid, char text[17]) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (int i = 0; i < 16; ++i) {
    text[i] = kDigits[(txid >> (60 - 4 * i)) & 15];
  }
  text[16] = '\0';
}

const char* sqlite_s3_version(void) { return SQLITE_S3_VERSION; }
int sqlite_s3_version_number(void) { return SQLITE_S3_VERSION_NUMBER; }
