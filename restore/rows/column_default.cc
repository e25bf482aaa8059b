#include "restore/rows/column_default.h"

#include "restore/rows/query.h"

namespace sqlite_s3 {
namespace {

Value ColumnValue(sqlite3_stmt* statement, int column) {
  Value value;
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return Value::Integer(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
      value.type = Value::Type::kReal;
      value.real = sqlite3_column_double(statement, column);
      return value;
    case SQLITE_TEXT:
      value.type = Value::Type::kText;
      break;
    case SQLITE_BLOB:
      value.type = Value::Type::kBlob;
      break;
    default:
      return value;
  }
  const void* bytes = sqlite3_column_blob(statement, column);
  if (bytes != nullptr) {
    value.bytes.assign(static_cast<const char*>(bytes),
                       static_cast<size_t>(sqlite3_column_bytes(statement, column)));
  }
  return value;
}

// For expressions of a schema: constants, put into a table of ours.
int OnlyConstants(void*, int action, const char*, const char*, const char*, const char*) {
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_CREATE_TABLE:
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_READ:
      return SQLITE_OK;
    default:
      return SQLITE_DENY;
  }
}

}  // namespace

Result<std::optional<Value>> ColumnDefault(TextEncoding encoding, const std::string& expression,
                                           Affinity affinity) {
  ASSIGN_OR_RETURN(Connection db,
                   Connection::Open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", 0));
  const char* const name = encoding == TextEncoding::kUtf8      ? "UTF-8"
                           : encoding == TextEncoding::kUtf16Le ? "UTF-16le"
                                                                : "UTF-16be";
  RETURN_IF_ERROR(db.Exec((std::string("PRAGMA encoding='") + name + "'").c_str()));
  HardenConnection(db.get());
  constexpr const char* kTypes[] = {"BLOB", "TEXT", "NUMERIC", "INTEGER", "REAL"};
  const std::string column = std::string("c ") + kTypes[static_cast<size_t>(affinity)];
  RETURN_IF_ERROR(db.Exec(("CREATE TABLE d(" + column + ")").c_str()));
  sqlite3_set_authorizer(db.get(), &OnlyConstants, nullptr);
  const auto run = [&](const std::string& sql) {  // one statement, whatever follows it
    Query query(db.get(), sql);
    (void)query.Next();
    return query.status().ok();
  };
  // A word that is no expression stands for itself there: DEFAULT pending.
  const char* table = "d";
  if (!run("INSERT INTO d SELECT " + expression)) {
    table = "w";
    if (!run("CREATE TABLE w(" + column + " DEFAULT " + expression + ")") ||
        !run("INSERT INTO w DEFAULT VALUES")) {
      return std::optional<Value>();  // of no constant: SQLite allows none that rows could lack
    }
  }
  sqlite3_set_authorizer(db.get(), nullptr, nullptr);
  Query stored(db.get(), std::string("SELECT c, CAST(c AS BLOB) FROM ") + table);
  if (!stored.Next()) {
    return stored.status().ok() ? std::optional<Value>()
                                : Result<std::optional<Value>>(stored.status());
  }
  Value value = ColumnValue(stored.get(), 0);
  if (value.type == Value::Type::kText) {
    value.bytes = stored.Blob(1);
  }
  return std::optional<Value>(value);
}

}  // namespace sqlite_s3
