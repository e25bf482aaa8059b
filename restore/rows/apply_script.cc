#include "restore/rows/apply_script.h"

#include "common/os/file.h"
#include "common/sqlite/connection.h"
#include "restore/rows/value.h"

namespace sqlite_s3 {
namespace {

constexpr int kBusyTimeoutMs = 10'000;

}  // namespace

Status ApplyScript(const std::string& database, const std::string& script) {
  ASSIGN_OR_RETURN(const bool exists, FileExists(database));
  if (!exists) {
    return NotFoundError("there is no database " + database);
  }
  ASSIGN_OR_RETURN(Connection db,
                   Connection::Open(database, SQLITE_OPEN_READWRITE, "", kBusyTimeoutMs));
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  // Checkpoints are the application's, or its agent's: a second one at work beside them is what the
  // WAL-reset bug of older versions needs (sqlite.org/wal.html#walresetbug).
  sqlite3_db_config(db.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_wal_autocheckpoint(db.get(), 0);
  char* message = nullptr;
  const int rc = sqlite3_exec(db.get(), script.c_str(), nullptr, nullptr, &message);
  const std::string text = message != nullptr ? message : "";
  sqlite3_free(message);
  if (rc == SQLITE_OK) {
    return Status::Ok();
  }
  Status status = SqliteStatus(rc, "undo in " + database, db.get());
  (void)db.Exec("ROLLBACK");  // fails when SQLite has done so
  if (text.find("not as the script expects") != std::string::npos ||
      (rc & 0xff) == SQLITE_CONSTRAINT) {
    return FailedPreconditionError(database + ": nothing was changed: " + Printable(text) +
                                   ", hint: did it change since the replica's last commit?");
  }
  return status;
}

}  // namespace sqlite_s3
