#pragma once
// A thin C++17 wrapper over <sqlite_s3.h>: RAII and exceptions, and a prepared statement whose
// values are shipped exactly. Header only; what the functions guarantee is said there.

#include <sqlite3.h>
#include <sqlite_s3.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sqlite_s3 {

// code() is one of the SQLITE_S3_ constants, what() the message.
class Error : public std::runtime_error {
 public:
  Error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// TXID as the command line tools take and print it.
inline std::string TxidText(std::uint64_t txid) {
  char text[17];
  sqlite_s3_txid_text(txid, text);
  return text;
}

// A handle. Movable; every method may be called from any thread, but a moved or destroyed object.
// All methods throw Error.
class Shipping {
 public:
  using Milliseconds = std::chrono::milliseconds;

  // Ships the database at `db_path`.
  Shipping(const std::string& db_path, const std::string& url, const std::string& options = {}) {
    Check(sqlite_s3_open(db_path.c_str(), url.c_str(), options.c_str(), &handle_));
  }
  // Ships the "main" database of `db` and attaches it. On the thread that uses `db`.
  Shipping(struct sqlite3* db, const std::string& url, const std::string& options = {}) {
    Check(sqlite_s3_open_connection(db, url.c_str(), options.c_str(), &handle_));
  }
  Shipping(Shipping&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Shipping& operator=(Shipping&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  // Flushes for up to five seconds. Close() says how it went.
  ~Shipping() { (void)sqlite_s3_close(handle_, 5000); }

  void Attach(struct sqlite3* db) { Check(sqlite_s3_attach(handle_, db)); }
  void AttachAll() { Check(sqlite_s3_attach_all(handle_)); }
  std::uint64_t Sync(Milliseconds timeout) {
    std::uint64_t txid = 0;
    Check(sqlite_s3_sync(handle_, Clamp(timeout), &txid));
    return txid;
  }
  void Wait(std::uint64_t txid, Milliseconds timeout) {
    Check(sqlite_s3_wait(handle_, txid, Clamp(timeout)));
  }
  std::uint64_t Mark(const std::string& name, Milliseconds timeout) {
    std::uint64_t txid = 0;
    Check(sqlite_s3_mark(handle_, name.c_str(), Clamp(timeout), &txid));
    return txid;
  }
  std::uint64_t Image(Milliseconds timeout) {
    std::uint64_t txid = 0;
    Check(sqlite_s3_image(handle_, Clamp(timeout), &txid));
    return txid;
  }
  // One JSON object.
  std::string Status() {
    char* json = sqlite_s3_status(handle_);
    if (json == nullptr) {
      throw Error(SQLITE_S3_FULL, sqlite_s3_errmsg());
    }
    std::string text(json);
    sqlite_s3_free(json);
    return text;
  }
  void Close(Milliseconds timeout) {
    Check(sqlite_s3_close(std::exchange(handle_, nullptr), Clamp(timeout)));
  }
  sqlite_s3_handle* get() const noexcept { return handle_; }

 private:
  static void Check(int code) {
    if (code != SQLITE_S3_OK) {
      throw Error(code, sqlite_s3_errmsg());
    }
  }
  // What does not fit an int is 24 days or more: no bound.
  static int Clamp(Milliseconds timeout) {
    return timeout.count() > 0x7fffffff || timeout.count() < 0 ? -1
                                                               : static_cast<int>(timeout.count());
  }
  sqlite_s3_handle* handle_ = nullptr;
};

// What SQLite said: code() is its extended result code.
class SqliteError : public std::runtime_error {
 public:
  SqliteError(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// A prepared statement of the application's that knows what its parameters are bound to, so that
// statements=values ships every value as it is: reals with all their bits, text with NUL. Works on
// any connection, also one that is not shipped. One thread at a time; must not outlive `db`.
// All methods throw SqliteError.
class BoundStatement {
 public:
  BoundStatement(sqlite3* db, const std::string& sql) : db_(db) {
    Check(sqlite3_prepare_v2(db, sql.c_str(), static_cast<int>(sql.size()) + 1, &statement_,
                             nullptr));
    const int count = sqlite3_bind_parameter_count(statement_);
    values_.resize(static_cast<std::size_t>(count), Null());
    owned_.resize(static_cast<std::size_t>(count));
  }
  BoundStatement(BoundStatement&& other) noexcept
      : db_(other.db_),
        statement_(std::exchange(other.statement_, nullptr)),
        values_(std::move(other.values_)),
        owned_(std::move(other.owned_)) {}
  BoundStatement& operator=(BoundStatement&&) = delete;
  ~BoundStatement() { sqlite3_finalize(statement_); }

  // Parameter `number` counts from 1. Values stay bound until another one is, also after Reset().
  void Bind(int number, std::int64_t value) {
    Check(sqlite3_bind_int64(statement_, number, value));
    sqlite_s3_value& v = At(number, SQLITE_INTEGER);
    v.integer = value;
  }
  void Bind(int number, int value) { Bind(number, static_cast<std::int64_t>(value)); }
  void Bind(int number, double value) {
    Check(sqlite3_bind_double(statement_, number, value));
    // SQLite stores NaN as NULL.
    sqlite_s3_value& v = At(number, value == value ? SQLITE_FLOAT : SQLITE_NULL);
    v.real = value;
  }
  void Bind(int number, std::nullptr_t) {
    Check(sqlite3_bind_null(statement_, number));
    At(number, SQLITE_NULL);
  }
  void Bind(int number, std::string text) { Keep(number, SQLITE_TEXT, std::move(text)); }
  void Bind(int number, const char* text) { Bind(number, std::string(text)); }
  void BindBlob(int number, std::string bytes) { Keep(number, SQLITE_BLOB, std::move(bytes)); }

  // True: there is a row, to be read with sqlite3_column_...(get(), ...). False: done, and reset.
  bool Step() {
    const int rc = sqlite_s3_step(statement_, values_.data(), static_cast<int>(values_.size()));
    if (rc == SQLITE_ROW) {
      return true;
    }
    const int result = sqlite3_reset(statement_);
    Check(rc == SQLITE_DONE ? SQLITE_OK : result != SQLITE_OK ? result : rc);
    return false;
  }
  // Steps to the end.
  void Run() {
    while (Step()) {
    }
  }
  void Reset() { (void)sqlite3_reset(statement_); }  // says again what Step() said
  sqlite3_stmt* get() const noexcept { return statement_; }

 private:
  static sqlite_s3_value Null() {
    sqlite_s3_value value{};
    value.type = SQLITE_NULL;
    return value;
  }
  void Check(int rc) const {
    if (rc != SQLITE_OK) {
      throw SqliteError(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_));
    }
  }
  sqlite_s3_value& At(int number, int type) {
    sqlite_s3_value& value = values_[static_cast<std::size_t>(number - 1)];
    value = Null();
    value.type = type;
    return value;
  }
  void Keep(int number, int type, std::string bytes) {
    if (number < 1 || static_cast<std::size_t>(number) > owned_.size()) {
      throw SqliteError(SQLITE_RANGE, "there is no parameter " + std::to_string(number));
    }
    // SQLite may still point at the old bytes until it has the new ones.
    std::string old = std::exchange(owned_[static_cast<std::size_t>(number - 1)], std::move(bytes));
    const std::string& kept = owned_[static_cast<std::size_t>(number - 1)];
    const int rc =
        type == SQLITE_TEXT
            ? sqlite3_bind_text64(statement_, number, kept.data(), kept.size(), SQLITE_STATIC,
                                  SQLITE_UTF8)
            : sqlite3_bind_blob64(statement_, number, kept.data(), kept.size(), SQLITE_STATIC);
    if (rc != SQLITE_OK) {
      owned_[static_cast<std::size_t>(number - 1)].swap(old);
      Check(rc);
    }
    sqlite_s3_value& value = At(number, type);
    value.bytes = kept.data();
    value.size = kept.size();
  }

  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
  std::vector<sqlite_s3_value> values_;
  std::vector<std::string> owned_;
};

}  // namespace sqlite_s3
