#pragma once
// SqlPermissions: what statements from a bucket may do: what a logged write needs and nothing else.
// As SQLite's authorizer, asked while a statement is prepared (sqlite.org/c3ref/set_authorizer).

struct sqlite3;

namespace sqlite_s3 {

// One connection's; its thread's.
struct SqlPermissions {
  bool own = false;             // what is prepared now is our own: any PRAGMA
  bool in_vacuum = false;       // it is a VACUUM, which attaches a temporary database
  bool changes_schema = false;  // set by what is prepared, never reset here

  // From now on, for as long as the connection is open. This must outlive it.
  void Guard(sqlite3* db);

 private:
  static int Authorize(void* self, int action, const char* a, const char* b, const char* database,
                       const char* trigger);
};

}  // namespace sqlite_s3
