#include "restore/sql_permissions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "common/sqlite/sql_tokens.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {
namespace {

template <size_t N>
bool IsOneOf(const char* name, const std::array<std::string_view, N>& names) {
  return name != nullptr && std::any_of(names.begin(), names.end(), [&](std::string_view n) {
           return EqualsIgnoringCase(n, name);
         });
}

// Read or write files, load code, or hand out pointers.
constexpr std::array<std::string_view, 6> kForbiddenFunctions = {
    "load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "fts5"};
// Of SQLite itself, with nothing outside the database.
constexpr std::array<std::string_view, 8> kModules = {"fts3",    "fts4",  "fts5",      "fts5vocab",
                                                      "fts4aux", "rtree", "rtree_i32", "geopoly"};
// What changes the database and nothing else, and what virtual tables and ALTER TABLE ask for.
constexpr std::array<std::string_view, 3> kPragmas = {"user_version", "application_id",
                                                      "incremental_vacuum"};
constexpr std::array<std::string_view, 4> kReadPragmas = {"data_version", "page_size", "page_count",
                                                          "quick_check"};

}  // namespace

void SqlPermissions::Guard(sqlite3* db) { sqlite3_set_authorizer(db, Authorize, this); }

int SqlPermissions::Authorize(void* argument, int action, const char* a, const char* b, const char*,
                              const char*) {
  auto* self = static_cast<SqlPermissions*>(argument);
  switch (action) {
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_ALTER_TABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
      self->changes_schema = true;
      return SQLITE_OK;
    case SQLITE_DELETE:
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_READ:
    case SQLITE_SELECT:
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      return IsOneOf(b, kForbiddenFunctions) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_VTABLE:
      self->changes_schema = true;
      return IsOneOf(b, kModules) ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_PRAGMA:
      return self->own || IsOneOf(a, kPragmas) || IsOneOf(a, kReadPragmas) ? SQLITE_OK
                                                                           : SQLITE_DENY;
    case SQLITE_ATTACH:  // VACUUM attaches a temporary database; VACUUM INTO, a file
      return self->in_vacuum && a != nullptr && *a == '\0' ? SQLITE_OK : SQLITE_DENY;
    case SQLITE_DETACH:
      return self->in_vacuum ? SQLITE_OK : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

}  // namespace sqlite_s3
