#include "agent/hook/attach_all.h"

#include <atomic>
#include <string>

#include "agent/hook/hooked_connection.h"
#include "agent/hook/log.h"
#include "common/base/clock.h"
#include "common/sqlite/connection.h"
#include "common/sqlite/sql_text.h"

namespace sqlite_s3 {
namespace {

// A store that is away must not slow down every connection's first statement.
constexpr int64_t kRestartPauseMicros = 10'000'000;

std::atomic<NewConnectionFunction> new_connection_function{nullptr};

// The trace callback's argument before it is a HookedConnection.
char not_attached;
char not_attached_saw_pragma;  // PRAGMA wal_autocheckpoint=N: SQLite's hook or none is in the slot

// Statements that we run inside the callback are traced too.
thread_local bool inside = false;

int TraceCallback(unsigned event, void* context, void* statement, void* text);

void SetTrace(sqlite3* db, void* context) {
  if (context == nullptr) {
    sqlite3_trace_v2(db, 0, nullptr, nullptr);
  } else {
    sqlite3_trace_v2(db, SQLITE_TRACE_STMT, TraceCallback, context);
  }
}

// Whether this SQLite gives a new connection an automatic checkpoint at all
// (SQLITE_DEFAULT_WAL_AUTOCHECKPOINT).
bool AutocheckpointIsOnByDefault() {
  static const bool on = [] {
    Result<Connection> memory =
        Connection::Open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, "", 0);
    Result<int> pages = memory.ok() ? AutocheckpointPages(memory->get()) : memory.status();
    return !pages.ok() || *pages > 0;
  }();
  return on;
}

// What becomes of a connection at its first statement.
enum class Decision { kAttached, kLater, kNever };

Decision TryToAttach(sqlite3* db, bool saw_pragma) {
  const std::string path = MainDatabasePath(db);
  Result<AttachAll> attach_all = Registry::Get().FindAttachAll(path);
  if (!attach_all.ok()) {
    return Decision::kNever;
  }
  const int64_t now_us = Clock::Real().MonotonicMicros();
  if (Registry::Get().Find(path) == nullptr) {
    if (!attach_all->restart) {
      return Decision::kNever;
    }
    if (attach_all->failed_at_us != 0 && now_us - attach_all->failed_at_us < kRestartPauseMicros) {
      return Decision::kLater;
    }
  }
  Result<HostDatabase> database = InspectConnection(db);
  if (!database.ok()) {
    Log(LogLevel::kInfo, database.status().WithContext("attach=all").ToString());
    return Decision::kNever;
  }
  Result<int> pages = AutocheckpointPages(db);
  if (!saw_pragma && pages.ok() && *pages == 0 && AutocheckpointIsOnByDefault()) {
    Log(LogLevel::kWarning,
        "attach=all leaves a connection to '" + path +
            "' alone, because it has a wal hook of its own or none, hint: attach it by hand");
    return Decision::kNever;
  }
  ShipRequest request = attach_all->request;
  request.database = *database;
  Result<HookedConnection*> connection = HookedConnection::Attach(db, request);
  if (!connection.ok()) {
    Registry::Get().SetAttachAllFailed(path, now_us);
    Log(LogLevel::kWarning, connection.status().WithContext("attach=all").ToString());
    return Decision::kLater;
  }
  SetTrace(db, *connection);
  return Decision::kAttached;
}

void OnStatement(void* context, sqlite3_stmt* statement, const char* sql) {
  sqlite3* db = sqlite3_db_handle(statement);
  if (context != &not_attached && context != &not_attached_saw_pragma) {
    static_cast<HookedConnection*>(context)->OnStatement(statement, sql);
    return;
  }
  if (SetsPragma(sql, "wal_autocheckpoint")) {  // takes effect when it is prepared
    SetTrace(db, &not_attached_saw_pragma);
  } else if (!IsPragma(sql)) {
    switch (TryToAttach(db, context == &not_attached_saw_pragma)) {
      case Decision::kAttached:
        HookedConnection::Find(db)->OnStatement(statement, sql);
        break;
      case Decision::kLater:
        break;
      case Decision::kNever:
        SetTrace(db, nullptr);
        break;
    }
  }
}

int TraceCallback(unsigned, void* context, void* statement, void* text) {
  if (inside) {
    return 0;
  }
  inside = true;
  try {
    OnStatement(context, static_cast<sqlite3_stmt*>(statement), static_cast<const char*>(text));
  } catch (...) {
    // The statement is the application's; the next one tries again.
  }
  inside = false;
  return 0;
}

int AutoExtension(sqlite3* db, char**, const sqlite3_api_routines*) {
  // Never an error: it would make the application's sqlite3_open fail.
  try {
    if (!Connection::OpeningOnThisThread() && Registry::Get().HasAttachAll(MainDatabasePath(db))) {
      SetTrace(db, &not_attached);
      if (NewConnectionFunction function = new_connection_function.load()) {
        function(db);
      }
    }
  } catch (...) {
    // It stays a connection that is not attached.
  }
  return SQLITE_OK;
}

}  // namespace

Status StartAttachAll(const AttachAll& attach_all, NewConnectionFunction on_new_connection) {
  if (on_new_connection != nullptr) {
    new_connection_function = on_new_connection;
  }
  // Registering twice is a no-op (its documentation). It is never taken back: another thread may be
  // inside sqlite3_open.
  int rc = sqlite3_auto_extension(reinterpret_cast<void (*)()>(AutoExtension));
  if (rc != SQLITE_OK) {
    return SqliteStatus(rc, "cannot register for new connections");
  }
  Registry::Get().SetAttachAll(attach_all.request.database.path, attach_all);
  return Status::Ok();
}

}  // namespace sqlite_s3
