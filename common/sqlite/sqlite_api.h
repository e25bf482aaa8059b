#pragma once
// The one header that decides where SQLite comes from. A loadable extension must use its host's
// SQLite through the API table it is handed: a second copy in the process would keep its own list
// of POSIX locks, and closing a file there drops the host's (howtocorrupt, section 2.2.1).

#ifdef SQLITE_S3_EXTENSION
#include <sqlite3ext.h>
extern "C" {
extern const sqlite3_api_routines* sqlite3_api;  // set by the extension's entry point
}
#else
#include <sqlite3.h>
#endif
