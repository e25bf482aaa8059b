#pragma once
// What the text of a traced statement tells of it. Called for every statement: cheap.

#include <string>
#include <string_view>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {

// Statements of triggers and virtual tables: see the top of statement_recorder.h. A statement of
// the application's that begins with a comment has that very text.
bool IsInternal(sqlite3_stmt* statement, const char* text);
// Whether the first letter allows a statement that only reads to be of interest.
bool MayMatter(const char* text);
// With IF [NOT] EXISTS it only reads where there is nothing to do. Another connection may have seen
// to it that there is: then it is prepared again when it begins, and not traced again.
bool MakesOrDropsTrigger(const char* text);
// PRAGMAs that change the database itself, and nothing that must stay secret. `name` as PragmaName
// has it.
bool IsLoggedPragma(const std::string& name);
// Whether a PRAGMA switches something on.
bool SaysOn(std::string_view sql);

}  // namespace sqlite_s3
