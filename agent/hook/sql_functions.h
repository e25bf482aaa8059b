#pragma once
// The SQL functions of the loadable extension.
//
//   s3_start(url [, options])     ships this connection's "main" database; the state
//   s3_sync([timeout])            waits until the replica has every commit so far; the last TXID
//   s3_wait([txid [, timeout]])   waits until the replica has that commit (none given: s3_sync)
//   s3_mark(name [, timeout])     names the last commit, once the replica has it; its TXID
//   s3_image([timeout])           ships an image, waits for it; its TXID
//   s3_status()                   the state as JSON
//   s3_stop()                     lets this connection go, the last one ends the shipping; the
//   state s3_version()
//
// TXIDs are text of 16 hex digits. A timeout is a number of seconds, or text such as '500ms', '2m';
// without one it is 30 seconds, and 24 hours for images. All but s3_start work on any connection to
// a database that this process ships.
//
// All are SQLITE_DIRECTONLY: a schema from a stranger's file cannot call them. s3_sync, s3_wait,
// s3_mark, s3_image and s3_stop refuse to run inside an open write transaction, whose commit they
// could wait for in vain.
//
// Errors are SQLITE_ERROR with our message, but for SQLITE_BUSY (a timeout) and SQLITE_PERM. Never
// SQLITE_FULL, IOERR, NOMEM or INTERRUPT: SQLite rolls the application's transaction back for
// those.

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// SQLITE_OK or the code that SQLite gave. OK to call again for the same connection.
int RegisterSqlFunctions(sqlite3* db);

}  // namespace sqlite_s3
