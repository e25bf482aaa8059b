#pragma once
// CancelScope: lets somebody else end what this thread waits for.

#include <functional>

namespace sqlite_s3 {

// While it lives, requests of this thread ask `stop` now and then, at least once a second, and end
// with kCancelled once it says true; whether such a request was carried out is then unknown. Scopes
// nest: the innermost counts. `stop` must outlive the scope and be cheap; it is called on this
// thread.
class CancelScope {
 public:
  explicit CancelScope(const std::function<bool()>& stop);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  // False where there is no scope.
  static bool Cancelled();

 private:
  const std::function<bool()>& stop_;
  const CancelScope* const outer_;
};

}  // namespace sqlite_s3
