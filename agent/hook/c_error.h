#pragma once
// What a function of the C ABI ends with: a code, and the message behind sqlite_s3_errmsg().

#include <exception>
#include <new>

#include "agent/hook/sqlite_s3.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// The code; the message is kept for this thread, cut where it is very long. Never fails.
int FailWith(int code, const char* message) noexcept;
int FailWith(const Status& status) noexcept;
// Of this thread's last failure; "" before the first.
const char* LastError() noexcept;

// Runs `body`, which returns a Status, and lets no exception out.
template <typename Body>
int Guard(Body&& body) noexcept {
  try {
    const Status status = body();
    return status.ok() ? SQLITE_S3_OK : FailWith(status);
  } catch (const std::bad_alloc&) {
    return FailWith(SQLITE_S3_FULL, "out of memory");
  } catch (const std::exception& e) {
    return FailWith(SQLITE_S3_INTERNAL, e.what());
  } catch (...) {
    return FailWith(SQLITE_S3_INTERNAL, "unknown exception");
  }
}

}  // namespace sqlite_s3
