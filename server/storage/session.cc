#include "server/storage/session.h"

namespace sqlite_s3::server {

void SqlQuery::Check(int rc) {
  if (rc != SQLITE_OK && error_.ok()) {
    error_ = SqliteStatus(rc, "cannot bind", db_);
  }
}

SqlQuery& SqlQuery::Bind(int index, int64_t value) {
  if (stmt_ != nullptr) {
    Check(sqlite3_bind_int64(stmt_, index, value));
  }
  return *this;
}

SqlQuery& SqlQuery::Bind(int index, std::string_view text) {
  if (stmt_ != nullptr) {
    const char* data = text.empty() ? "" : text.data();
    Check(sqlite3_bind_text64(stmt_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  return *this;
}

SqlQuery& SqlQuery::BindOrNull(int index, std::string_view text) {
  return text.empty() ? *this : Bind(index, text);
}

SqlQuery& SqlQuery::BindBlob(int index, ByteSpan bytes) {
  if (stmt_ != nullptr) {
    const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
    Check(sqlite3_bind_blob64(stmt_, index, data, bytes.size(), SQLITE_STATIC));
  }
  return *this;
}

Result<bool> SqlQuery::Step() {
  if (!error_.ok()) {
    return error_;
  }
  int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) {
    return true;
  }
  Status status = SqliteStatus(rc, "cannot run a statement on the bucket", db_);
  sqlite3_reset(stmt_);
  if (!status.ok()) {
    return status;
  }
  return false;
}

Status SqlQuery::Run() {
  while (true) {
    ASSIGN_OR_RETURN(bool row, Step());
    if (!row) {
      return Status::Ok();
    }
  }
}

void SqlQuery::Reset() {
  if (stmt_ != nullptr) {
    sqlite3_reset(stmt_);
    sqlite3_clear_bindings(stmt_);
  }
}

std::string_view SqlQuery::Text(int column) const {
  const unsigned char* text = sqlite3_column_text(stmt_, column);
  if (text == nullptr) {
    return {};
  }
  return {reinterpret_cast<const char*>(text),
          static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
}

ByteSpan SqlQuery::Blob(int column) const {
  const void* data = sqlite3_column_blob(stmt_, column);
  if (data == nullptr) {
    return {};
  }
  return {static_cast<const uint8_t*>(data),
          static_cast<size_t>(sqlite3_column_bytes(stmt_, column))};
}

Session::~Session() {
  for (auto& [sql, stmt] : statements_) {
    sqlite3_finalize(stmt);
  }
}

SqlQuery Session::Use(const char* sql) {
  sqlite3* db = connection_.get();
  sqlite3_stmt*& stmt = statements_[sql];
  if (stmt == nullptr) {
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
    if (rc != SQLITE_OK) {
      return {db, nullptr, SqliteStatus(rc, "cannot prepare a statement for the bucket", db)};
    }
  }
  return {db, stmt, Status::Ok()};
}

Status ReadTransaction::Begin() {
  RETURN_IF_ERROR(session_.Use("BEGIN").Run());
  open_ = true;
  return Status::Ok();
}

ReadTransaction::~ReadTransaction() {
  if (open_) {
    (void)session_.Use("COMMIT").Run();  // nothing was written: it cannot lose anything
  }
}

Result<SessionPool::Lease> SessionPool::Get() {
  {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !idle_.empty() || (open_ < limit_ && !frozen_); });
    if (!idle_.empty()) {
      auto session = std::move(idle_.back());
      idle_.pop_back();
      return Lease(*this, std::move(session));
    }
    ++open_;
  }
  auto session = opener_(context_);
  if (!session.ok()) {
    std::lock_guard lock(mutex_);
    --open_;
    returned_.notify_one();
    return session.status();
  }
  return Lease(*this, std::move(session).value());
}

Status SessionPool::Freeze() {
  ASSIGN_OR_RETURN(Lease lease, Get());
  std::lock_guard lock(mutex_);
  frozen_ = true;
  return Status::Ok();
}

void SessionPool::Close() {
  std::lock_guard lock(mutex_);
  open_ -= static_cast<int>(idle_.size());
  idle_.clear();
}

void SessionPool::Return(std::unique_ptr<Session> session) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(session));
  returned_.notify_one();
}

}  // namespace sqlite_s3::server
