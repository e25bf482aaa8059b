#pragma once
// A change as an SQL script that makes it in a live database, or does nothing at all.

#include <string>

#include "restore/rows/change_set.h"

namespace sqlite_s3 {

struct ScriptOptions {
  std::string title;  // first line, a comment
  // The schema of the database that the script is for.
  const Schema* live = nullptr;
  // Tables, of those with foreign keys, to check before and after.
  std::vector<std::string> check_foreign_keys;
  // For a connection on which triggers are switched off: they stay as they are. Otherwise those on
  // the tables concerned are dropped within the transaction and made again.
  bool triggers_are_off = false;
  // Full-text tables whose index is to be made anew from their content.
  std::vector<std::string> rebuild;
};

// One transaction. Each statement on a row names every old value of it, and the end checks that
// each changed exactly one: then it commits, else it rolls back; also in a shell that goes on after
// errors. Foreign keys are not enforced, so that no action of theirs touches a row that is not
// named; that no violation was added is checked. A table that was altered is made anew, by its own
// CREATE TABLE, and its rows are copied. kFailedPrecondition with the reason when a change is one
// that no such script can make: a table whose key was altered, a virtual table of a module that is
// not known.
Result<std::string> WriteScript(const ChangeSet& changes, const ScriptOptions& options);

}  // namespace sqlite_s3
