#pragma once
// Guarded: what standard C++ throws, as a Status. For the entries of our threads: nothing may get
// past them, or the application ends with it (docs/adr/0001).

#include <exception>
#include <new>

#include "common/base/status.h"

namespace sqlite_s3 {

// Runs `body`, which returns a Status. Errors: its own; kResourceExhausted when memory ran out,
// kInternal for anything else that it threw, a thread that could not be started included.
template <typename Body>
Status Guarded(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return ResourceExhaustedError("out of memory");
  } catch (const std::exception& e) {
    return InternalError(e.what());
  } catch (...) {
    return InternalError("unknown throw");
  }
}

}  // namespace sqlite_s3
