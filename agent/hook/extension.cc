// The loadable extension sqlite_s3_hook.so: its entry points, and nothing else.

#include <atomic>
#include <mutex>

#include "agent/hook/host.h"
#include "agent/hook/sql_functions.h"
#include "common/sqlite/sqlite_api.h"

#ifndef SQLITE_S3_EXTENSION
#error "the extension must use its host's SQLite"
#endif

extern "C" {
const sqlite3_api_routines* sqlite3_api = nullptr;
}

namespace sqlite_s3 {
namespace {

int ReportInitError(const sqlite3_api_routines* api, char** error, const char* message) {
  if (error != nullptr) {
    *error = api->mprintf("%s", message);
  }
  return SQLITE_ERROR;
}

int Initialize(sqlite3* db, char** error, const sqlite3_api_routines* api) noexcept try {
  {
    // One process, two SQLites: each keeps its own list of POSIX locks, and all code here calls
    // through one table. The first one wins.
    static std::mutex* mutex = new std::mutex;
    std::lock_guard lock(*mutex);
    if (sqlite3_api != nullptr && sqlite3_api != api) {
      return ReportInitError(api, error,
                             "sqlite_s3_hook is in use by another copy of SQLite in this process, "
                             "hint: load it from one of them only");
    }
    sqlite3_api = api;
  }
  Status host = CheckHost();
  if (!host.ok()) {
    return ReportInitError(api, error, host.message().c_str());
  }
  int rc = RegisterSqlFunctions(db);
  // Permanently: engine threads run this library's code, and connections point at its hooks.
  return rc == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : rc;
} catch (...) {
  return SQLITE_ERROR;
}

}  // namespace
}  // namespace sqlite_s3

// SQLite looks for the first name; then, from the file name "sqlite_s3_hook.so", for its letters in
// lower case between "sqlite3_" and "_init" (loadext.html, section 4; newer versions, also its
// digits). Shells and languages that insist on a name of their own get all three.
#define SQLITE_S3_ENTRY_POINT(name)                                                             \
  extern "C" __attribute__((visibility("default"))) int name(sqlite3* db, char** error,         \
                                                             const sqlite3_api_routines* api) { \
    return sqlite_s3::Initialize(db, error, api);                                               \
  }
SQLITE_S3_ENTRY_POINT(sqlite3_extension_init)
SQLITE_S3_ENTRY_POINT(sqlite3_sqliteshook_init)
SQLITE_S3_ENTRY_POINT(sqlite3_sqlites3hook_init)
