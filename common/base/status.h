#pragma once
// Status and Result<T>: how every function of this project reports failure.
//
// A code names what the caller does next, not what went wrong inside; the message says what failed,
// with which object or path, lowercase, followed by "hint: ..." where there is a way out. Nothing
// throws across a thread entry, a callback or the C ABI. Both types are [[nodiscard]]: an error
// that nobody looks at does not compile. Thread-safe as values are: distinct objects may be used by
// distinct threads.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sqlite_s3 {

enum class StatusCode : uint8_t {
  kOk = 0,
  kInvalidArgument,     // the caller's input is wrong: fix the option, the URL, the command line
  kNotFound,            // the named thing does not exist
  kAlreadyExists,       // create-if-absent lost: somebody was there first, read what is there
  kUnavailable,         // may succeed if retried as it is
  kAborted,             // another writer won: start again one level up, or stop
  kFailedPrecondition,  // the state must be changed by somebody before a retry can succeed
  kPermissionDenied,    // credentials or file modes
  kResourceExhausted,   // disk, memory or a stated bound is full
  kCorruption,          // bytes are not what they must be: stop, never retry
  kIoError,             // the operating system refused for a reason that none of the above names
  kCancelled,           // we are shutting down
  kDeadlineExceeded,    // the time the caller gave is over; the work may still complete
  kUnimplemented,       // a newer format version, or a feature this build or store lacks
  kInternal,            // our bug
};

// "not found", "corruption", ... Never null.
const char* StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // OK
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }
  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // "context: message", same code. OK stays OK. Called on the way up, from the inside out.
  Status WithContext(std::string_view context) const;
  // "not found: no such file /x". For logs and for people.
  std::string ToString() const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

Status InvalidArgumentError(std::string message);
Status NotFoundError(std::string message);
Status AlreadyExistsError(std::string message);
Status UnavailableError(std::string message);
Status AbortedError(std::string message);
Status FailedPreconditionError(std::string message);
Status PermissionDeniedError(std::string message);
Status ResourceExhaustedError(std::string message);
Status CorruptionError(std::string message);
Status IoError(std::string message);
Status CancelledError(std::string message);
Status DeadlineExceededError(std::string message);
Status UnimplementedError(std::string message);
Status InternalError(std::string message);

// Either a T or a Status that is not OK.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)  // NOLINT: implicit by design
      : state_(std::in_place_index<1>, std::move(value)) {}
  Result(Status status) : state_(std::in_place_index<0>, std::move(status)) {  // NOLINT
    if (std::get<0>(state_).ok()) {
      state_.template emplace<0>(InternalError("a Result was made from an OK status"));
    }
  }

  bool ok() const { return state_.index() == 1; }
  Status status() const { return ok() ? Status() : std::get<0>(state_); }
  StatusCode code() const { return ok() ? StatusCode::kOk : std::get<0>(state_).code(); }

  // REQUIRES: ok(). Throws std::bad_variant_access otherwise, which is our bug.
  T& value() & { return std::get<1>(state_); }
  const T& value() const& { return std::get<1>(state_); }
  T&& value() && { return std::get<1>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<Status, T> state_;
};

#define SQLITE_S3_CONCAT_INNER(a, b) a##b
#define SQLITE_S3_CONCAT(a, b) SQLITE_S3_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` (a Status) is not OK.
#define RETURN_IF_ERROR(expr)                      \
  do {                                             \
    ::sqlite_s3::Status return_if_error_ = (expr); \
    if (!return_if_error_.ok()) {                  \
      return return_if_error_;                     \
    }                                              \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): declares or assigns x from a Result, or returns its status.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(SQLITE_S3_CONCAT(result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                          \
  if (!tmp.ok()) {                            \
    return tmp.status();                      \
  }                                           \
  lhs = std::move(tmp).value()

}  // namespace sqlite_s3
