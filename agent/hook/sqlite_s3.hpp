#pragma once
// A thin C++17 wrapper over <sqlite_s3.h>: RAII and exceptions, nothing else. Header only; what the
// functions guarantee is said there.

#include <sqlite_s3.h>

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

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

}  // namespace sqlite_s3
