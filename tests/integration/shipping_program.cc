// A process of an application with the library in it, for crash tests:
//
//   program DATABASE URL OPTIONS LAST_STEP
//
// Makes the steps of shipping_steps.h that are still missing, together with others of its kind that
// run at the same time, and writes the number of a step to stdout once the replica has it. What
// the library says is not its business; it fails when SQLite says anything but "busy".

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/hook/sqlite_s3.h"
#include "common/sqlite/sqlite_api.h"
#include "tests/integration/shipping_steps.h"

namespace {

constexpr int kSyncTimeoutMs = 5000;

bool Run(sqlite3* db, const std::string& sql, bool busy_is_fine = false) {
  char* message = nullptr;
  const int rc = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message);
  if (rc == SQLITE_OK || (busy_is_fine && (rc & 0xff) == SQLITE_BUSY)) {
    sqlite3_free(message);
    return true;
  }
  std::fprintf(stderr, "the application saw %d %s: %s\n", rc, message, sql.c_str());
  sqlite3_free(message);
  return false;
}

// -1: SQLite failed.
int LastStep(sqlite3* db) {
  int n = -1;
  const auto take = [](void* to, int, char** values, char**) {
    *static_cast<int*>(to) = std::atoi(values[0]);
    return 0;
  };
  sqlite3_exec(db, "select max(n) from steps", take, &n, nullptr);
  return n;
}

bool MakeSteps(sqlite3* db, sqlite_s3_handle* handle, int last_step) {
  for (;;) {
    if (!Run(db, "begin immediate")) {
      return false;
    }
    const int n = LastStep(db) + 1;
    if (n <= 0) {
      return false;
    }
    if (n > last_step) {
      return Run(db, "rollback");
    }
    if (!Run(db, sqlite_s3::StepSql(n)) || !Run(db, "commit")) {
      return false;
    }
    if (n % 16 == 11 && !Run(db, "vacuum", true)) {
      return false;
    }
    if (n % 3 == 0 && handle != nullptr &&
        sqlite_s3_sync(handle, kSyncTimeoutMs, nullptr) == SQLITE_S3_OK) {
      const std::string line = std::to_string(n) + "\n";
      if (write(1, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        return false;
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    return 2;
  }
  sqlite3* db = nullptr;
  if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
    return 3;
  }
  sqlite3_busy_timeout(db, 60'000);
  sqlite_s3_handle* handle = nullptr;
  if (!Run(db, "pragma synchronous=off; pragma wal_autocheckpoint=16")) {
    return 4;
  }
  if (sqlite_s3_open_connection(db, argv[2], argv[3], &handle) != SQLITE_S3_OK) {
    std::fprintf(stderr, "open: %s\n", sqlite_s3_errmsg());
  }
  const bool made = MakeSteps(db, handle, std::atoi(argv[4]));
  const bool shipped =
      handle != nullptr && sqlite_s3_sync(handle, 4 * kSyncTimeoutMs, nullptr) == SQLITE_S3_OK;
  if (!shipped && handle != nullptr) {
    std::fprintf(stderr, "sync: %s\n", sqlite_s3_errmsg());
  }
  sqlite3_close(db);
  sqlite_s3_close(handle, kSyncTimeoutMs);
  return !made ? 5 : shipped ? 0 : 6;
}
