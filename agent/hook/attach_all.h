#pragma once
// attach=all: every connection that this process opens to a database is attached.
//
// An auto-extension runs inside sqlite3_open, but SQLite installs its automatic checkpoint after
// it, in the slot of the wal hook. So the auto-extension only registers a trace callback, which
// survives, and the connection is attached when it runs its first statement that is not a PRAGMA
// (those set a connection up). The trace slot is the application's to take: sqlite3_trace_v2, or
// Python's set_trace_callback, ends what is said here for that connection.

#include "agent/hook/registry.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// Run for every new connection of a database with attach=all, inside sqlite3_open: the extension
// registers its SQL functions. May be null.
using NewConnectionFunction = void (*)(sqlite3* db);

// From now on, until Registry::ClearAttachAll. Connections that are open already are not touched.
Status StartAttachAll(const AttachAll& attach_all, NewConnectionFunction on_new_connection);

}  // namespace sqlite_s3
