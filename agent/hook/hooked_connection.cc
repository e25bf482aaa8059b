#include "agent/hook/hooked_connection.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "agent/hook/log.h"
#include "agent/hook/registry.h"
#include "common/sqlite/sql_text.h"

namespace sqlite_s3 {
namespace {

// What PRAGMA wal_autocheckpoint=N leaves as the argument of SQLite's own hook is N as a pointer;
// an application's argument is an address, or null.
bool IsThreshold(const void* argument) {
  return reinterpret_cast<uintptr_t>(argument) <= 0x7fffffff;
}
uint32_t AsThreshold(const void* argument) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(argument));
}

// A name of its own for every copy of this library in the process (a program may link one and load
// another): registering the other's name again would run its destructor.
std::string HiddenFunctionName() {
  static char address_of_this_copy;
  char name[64];
  std::snprintf(name, sizeof name, "s3_connection_%p", static_cast<void*>(&address_of_this_copy));
  return name;
}

void HiddenFunction(sqlite3_context* context, int, sqlite3_value**) {
  sqlite3_result_null(context);
}

}  // namespace

HookedConnection* HookedConnection::Find(sqlite3* db) { return Registry::Get().FindConnection(db); }

Result<HookedConnection*> HookedConnection::FindOrCreate(sqlite3* db) {
  if (HookedConnection* found = Find(db)) {
    return found;
  }
  auto* connection = new HookedConnection(db);
  Registry::Get().AddConnection(db, connection);
  // Only once in the life of a connection: registering a name again fails while statements run.
  // After an error SQLite has called Destroy already.
  int rc = sqlite3_create_function_v2(db, HiddenFunctionName().c_str(), 0,
                                      SQLITE_UTF8 | SQLITE_DIRECTONLY, connection, HiddenFunction,
                                      nullptr, nullptr, Destroy);
  if (rc != SQLITE_OK) {
    return InternalError(std::string("cannot register a function: ") + sqlite3_errstr(rc));
  }
  return connection;
}

Result<HookedConnection*> HookedConnection::Attach(sqlite3* db, const ShipRequest& request) {
  ASSIGN_OR_RETURN(HookedConnection * connection, FindOrCreate(db));
  if (connection->attached() && connection->shared_->phase() != SharedEngine::Phase::kLive) {
    (void)connection->Detach(std::chrono::milliseconds(0), false);  // it has ended already
  }
  const bool attached_before = connection->attached();
  if (!attached_before) {
    ASSIGN_OR_RETURN(int pages, AutocheckpointPages(db));
    connection->checkpoint_pages_ = static_cast<uint32_t>(pages > 0 ? pages : 0);
  }
  ForkGate::Operation operation(Registry::Get().fork_gate());
  // Also when attached before: checks that the same is asked for, and revives a failed engine.
  ASSIGN_OR_RETURN(std::shared_ptr<SharedEngine> shared,
                   Registry::Get().Acquire(request, connection->AsUser()));
  if (attached_before) {
    shared->RemoveUser(connection->AsUser());
  }
  connection->shared_ = std::move(shared);
  connection->TakeTrace();
  void* previous = connection->TakeSlot();
  if (previous == connection) {
    return connection;
  }
  if (!IsThreshold(previous)) {
    connection->SetCheckpointPages(
        kDefaultCheckpointPages);  // its own hook made room, or nobody did
    Log(LogLevel::kWarning,
        "a wal hook of the application's was replaced in a connection to '" +
            request.database.path +
            "', hint: install it after attaching, and call sqlite_s3_notify() from it");
  } else {
    connection->SetCheckpointPages(AsThreshold(previous));
  }
  return connection;
}

HookedConnection::~HookedConnection() {
  Registry::Get().RemoveConnection(db_);
  if (!attached()) {
    return;
  }
  SetDisplaced(false);
  SetTraceDisplaced(false);
  if (shared_->phase() != SharedEngine::Phase::kForked) {
    ForkGate::Operation operation(Registry::Get().fork_gate());
    shared_->RemoveUser(AsUser());
  }
}

void HookedConnection::Destroy(void* connection) {
  try {
    delete static_cast<HookedConnection*>(connection);
  } catch (...) {
    // SQLite is closing a connection: nobody could be told.
  }
}

Status HookedConnection::Detach(std::chrono::milliseconds timeout, bool everybody) {
  if (!attached()) {
    return Status::Ok();
  }
  GiveWayToSqlite();
  SetDisplaced(false);
  if (recorder_ != nullptr && !trace_displaced_) {
    sqlite3_trace_v2(db_, 0, nullptr, nullptr);
  }
  SetTraceDisplaced(false);
  recorder_.reset();
  std::shared_ptr<SharedEngine> shared = std::exchange(shared_, nullptr);
  if (shared->phase() == SharedEngine::Phase::kForked) {
    return shared->LiveEngine().status();
  }
  return shared->Leave(AsUser(), timeout, everybody);
}

// Our own hook out, the connection's earlier setting in; another hook stays. See the top of the
// header.
void HookedConnection::GiveWayToSqlite() {
  CheckHook();
  Result<int> pages = AutocheckpointPages(db_);
  if (displaced_ || !pages.ok() || *pages > 0) {
    return;
  }
  if (sqlite3_wal_hook(db_, nullptr, nullptr) == this) {
    sqlite3_wal_autocheckpoint(db_, static_cast<int>(checkpoint_pages_));
  }
}

void* HookedConnection::TakeSlot() {
  void* previous = sqlite3_wal_hook(db_, WalHook, this);
  own_commits_ = OwnCommits(db_);
  called_ = false;
  SetDisplaced(false);
  return previous;
}

void HookedConnection::TakeTrace() {
  const StatementLevel level = shared_->request().config.ship.statements;
  if (level == StatementLevel::kOff) {
    recorder_.reset();
    return;
  }
  if (recorder_ == nullptr) {
    recorder_ = std::make_unique<StatementRecorder>(db_, level == StatementLevel::kValues);
  }
  SetTraceDisplaced(false);
  sqlite3_trace_v2(db_, SQLITE_TRACE_STMT, TraceHook, this);
}

void HookedConnection::SetTraceDisplaced(bool displaced) {
  if (std::exchange(trace_displaced_, displaced) == displaced) {
    return;
  }
  if (shared_->phase() == SharedEngine::Phase::kLive) {
    shared_->engine()->AddTraceDisplaced(displaced ? 1 : -1);
  }
  if (displaced) {
    Log(LogLevel::kWarning, "the application has taken the trace callback of a connection to '" +
                                shared_->database().path +
                                "': its commits are shipped without their statements, hint: call "
                                "sqlite_s3_trace() from it");
  }
}

void HookedConnection::OnStatement(sqlite3_stmt* statement, const char* text) {
  if (!attached() || in_trace_ || shared_->phase() != SharedEngine::Phase::kLive) {
    return;
  }
  in_trace_ = true;
  try {
    if (SetsPragma(text, "wal_autocheckpoint")) {
      PutHookBack();
    }
    StatementInbox* inbox = shared_->engine()->statement_inbox();
    if (recorder_ != nullptr && inbox != nullptr) {
      recorder_->OnStatement(*inbox, statement, text);
    }
  } catch (...) {
    // The statement is the application's, and goes on; its commit is without it, and the pages do.
  }
  in_trace_ = false;
}

Status HookedConnection::SetTag(const std::string& tag) {
  if (tag.size() > kMaxTagBytes) {
    return InvalidArgumentError("a tag of " + std::to_string(tag.size()) +
                                " bytes, hint: at most " + std::to_string(kMaxTagBytes));
  }
  if (recorder_ != nullptr) {
    recorder_->SetTag(tag);
  }
  return Status::Ok();
}

int HookedConnection::TraceHook(unsigned, void* connection, void* statement, void* text) {
  static_cast<HookedConnection*>(connection)
      ->OnStatement(static_cast<sqlite3_stmt*>(statement), static_cast<const char*>(text));
  return 0;
}

void HookedConnection::PutHookBack() {
  if (!attached() || shared_->phase() != SharedEngine::Phase::kLive) {
    return;
  }
  void* previous = TakeSlot();
  if (previous != this && IsThreshold(previous)) {
    SetCheckpointPages(AsThreshold(previous));
  }
}

void HookedConnection::CheckHook() {
  if (!attached() || shared_->phase() != SharedEngine::Phase::kLive) {
    return;
  }
  Result<int> pages = AutocheckpointPages(db_);
  if (!pages.ok()) {
    return;
  }
  if (*pages > 0) {
    PutHookBack();
    return;
  }
  std::optional<uint32_t> own_commits = OwnCommits(db_);
  const bool committed = own_commits && own_commits_ && *own_commits != *own_commits_;
  if (committed && !called_ && shared_->engine()->UnannouncedCommits() > 0) {
    SetDisplaced(true);
  }
  if (own_commits) {
    own_commits_ = own_commits;
    called_ = false;
  }
}

void HookedConnection::SetCheckpointPages(uint32_t pages) {
  if (pages != checkpoint_pages_) {
    ForkGate::Operation operation(Registry::Get().fork_gate());
    shared_->ChangeCheckpointPages(checkpoint_pages_, pages);
    checkpoint_pages_ = pages;
  }
}

void HookedConnection::SetDisplaced(bool displaced) {
  if (displaced_ != displaced) {
    displaced_ = displaced;
    shared_->AddDisplaced(displaced ? 1 : -1);
  }
}

void HookedConnection::OnCommit(uint32_t frames) {
  if (!attached()) {
    return;
  }
  called_ = true;
  if (displaced_) {
    SetDisplaced(false);
  }
  StatementInbox* inbox = shared_->engine()->statement_inbox();
  if (recorder_ != nullptr && inbox != nullptr) {
    // Before the engine, which may make this thread wait until the commit is in the store.
    SetTraceDisplaced(!recorder_->OnCommit(*inbox, frames));
  }
  shared_->engine()->OnCommit(frames);
}

int HookedConnection::WalHook(void* argument, sqlite3* db, const char* schema, int frames) {
  // Whatever happens, the commit stands: an error returned from here would make SQLite report it as
  // failed, and skip the hooks of other schemas (wal_hook's documentation).
  try {
    auto* connection = static_cast<HookedConnection*>(argument);
    if (std::strcmp(schema, "main") != 0 || !connection->attached()) {
      return SQLITE_OK;
    }
    switch (connection->shared_->phase()) {
      case SharedEngine::Phase::kLive:
        connection->OnCommit(static_cast<uint32_t>(frames));
        break;
      case SharedEngine::Phase::kEnded:
        // Stopped from another thread, which must not touch this connection: now it can be done.
        sqlite3_wal_autocheckpoint(db, static_cast<int>(connection->checkpoint_pages_));
        break;
      case SharedEngine::Phase::kForked:
        break;
    }
  } catch (...) {
    // OnCommit does not throw; if it did, capture would still find the commit.
  }
  return SQLITE_OK;
}

}  // namespace sqlite_s3
