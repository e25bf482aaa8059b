#pragma once
// Session: a connection with its statements cached; SqlQuery: one run of one of them; SessionPool:
// the read connections of a bucket.

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/bytes.h"
#include "common/sqlite/connection.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

// A statement in use; reset, with its bindings cleared, when dropped. An error of preparing or
// binding is kept and comes out of Step. Text and blobs are not copied: what is bound must live
// until the SqlQuery is dropped, what a column gives until the next Step. REQUIRES: outlived by its
// Session.
class SqlQuery {
 public:
  SqlQuery(sqlite3* db, sqlite3_stmt* stmt, Status error)
      : db_(db), stmt_(stmt), error_(std::move(error)) {}
  SqlQuery(const SqlQuery&) = delete;
  SqlQuery& operator=(const SqlQuery&) = delete;
  ~SqlQuery() { Reset(); }

  SqlQuery& Bind(int index, int64_t value);
  SqlQuery& Bind(int index, std::string_view text);
  SqlQuery& BindOrNull(int index, std::string_view text);  // NULL when empty
  SqlQuery& BindBlob(int index, ByteSpan bytes);

  Result<bool> Step();  // true: there is a row
  Status Run();         // to the end, without looking at rows
  void Reset();

  bool IsNull(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
  int64_t Int(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::string_view Text(int column) const;
  ByteSpan Blob(int column) const;

 private:
  void Check(int rc);
  sqlite3* db_;
  sqlite3_stmt* stmt_;  // owned by the Session
  Status error_;
};

// One thread at a time.
class Session {
 public:
  explicit Session(Connection connection) : connection_(std::move(connection)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // `sql` must be a string literal: its address is its name in the cache. One SqlQuery of a
  // statement at a time.
  SqlQuery Use(const char* sql);
  Status Exec(const char* sql) { return connection_.Exec(sql); }
  Connection& connection() { return connection_; }
  int64_t Changes() const { return sqlite3_changes64(connection_.get()); }

 private:
  Connection connection_;
  std::unordered_map<const void*, sqlite3_stmt*> statements_;
};

// A read transaction over several statements; ends when dropped.
class ReadTransaction {
 public:
  explicit ReadTransaction(Session& session) : session_(session) {}
  ~ReadTransaction();
  Status Begin();

 private:
  Session& session_;
  bool open_ = false;
};

// Opens sessions as they are needed, up to a limit; then callers wait for one. Thread-safe.
class SessionPool {
 public:
  using Opener = Result<std::unique_ptr<Session>> (*)(const void* context);
  class Lease {
   public:
    Lease(SessionPool& pool, std::unique_ptr<Session> session)
        : pool_(&pool), session_(std::move(session)) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (session_) {
        pool_->Return(std::move(session_));
      }
    }
    Session& operator*() { return *session_; }
    Session* operator->() { return session_.get(); }

   private:
    SessionPool* pool_;
    std::unique_ptr<Session> session_;
  };

  SessionPool(Opener opener, const void* context, int limit)
      : opener_(opener), context_(context), limit_(limit) {}
  Result<Lease> Get();
  // From now on only the sessions that are open are used: the file's name is about to mean another
  // file, or none. Opens one if there is none.
  Status Freeze();
  // Closes the idle ones. REQUIRES: no leases.
  void Close();

 private:
  void Return(std::unique_ptr<Session> session);
  const Opener opener_;
  const void* const context_;
  const int limit_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Session>> idle_;
  int open_ = 0;
  bool frozen_ = false;
};

}  // namespace sqlite_s3::server
