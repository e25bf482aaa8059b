#pragma once
// S3Error: a refusal as S3 names it. The table of codes and their HTTP statuses is in the .cc.

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sqlite_s3::server {

struct S3Error {
  int status = 500;
  std::string code;
  std::string message;
  // More elements of the document, in order.
  std::vector<std::pair<std::string, std::string>> details;
  // More headers of the answer.
  std::vector<std::pair<std::string, std::string>> headers;

  S3Error With(std::string name, std::string value) && {
    details.emplace_back(std::move(name), std::move(value));
    return std::move(*this);
  }
  S3Error WithHeader(std::string name, std::string value) && {
    headers.emplace_back(std::move(name), std::move(value));
    return std::move(*this);
  }
};

// Status and, when `message` is empty, the message from the table; a code that is not in it is 500.
S3Error MakeError(std::string_view code, std::string message = {});

// Either a T or an S3Error.
template <typename T>
class [[nodiscard]] S3Result {
 public:
  // Implicit by design, like those of Result.
  S3Result(T value) : state_(std::in_place_index<1>, std::move(value)) {}        // NOLINT
  S3Result(S3Error error) : state_(std::in_place_index<0>, std::move(error)) {}  // NOLINT
  bool ok() const { return state_.index() == 1; }
  // REQUIRES: !ok(). With this name ASSIGN_OR_RETURN works for it.
  S3Error status() const { return std::get<0>(state_); }
  const S3Error& error() const { return std::get<0>(state_); }
  // REQUIRES: ok().
  T& value() & { return std::get<1>(state_); }
  const T& value() const& { return std::get<1>(state_); }
  T&& value() && { return std::get<1>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<S3Error, T> state_;
};

}  // namespace sqlite_s3::server
