#include "tests/restore/database_content.h"

#include <bit>

#include "common/sqlite/connection.h"
#include "restore/rows/query.h"
#include "restore/rows/value.h"
#include "tests/support/must.h"

namespace sqlite_s3 {
namespace {

std::string ColumnText(const Query& query, int column) {
  sqlite3_stmt* statement = query.get();
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return "i" + std::to_string(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
      return "r" +
             std::to_string(std::bit_cast<uint64_t>(sqlite3_column_double(statement, column)));
    case SQLITE_TEXT:
      return "t" + HexEncode(AsBytes(query.Blob(column)));
    case SQLITE_BLOB:
      return "b" + HexEncode(AsBytes(query.Blob(column)));
    default:
      return "n";
  }
}

DatabaseContent Read(sqlite3* db) {
  DatabaseContent content;
  Query objects(db, "SELECT type, name, coalesce(sql,''), rootpage FROM sqlite_schema");
  std::vector<std::string> tables;
  while (objects.Next()) {
    const std::string name = objects.Text(1);
    if (!objects.Text(2).empty() && name != "sqlite_sequence") {
      content.schema[objects.Text(0) + " " + name] = objects.Text(2);
    }
    if (objects.Text(0) == "table" && objects.Int(3) != 0) {
      tables.push_back(name);
    }
  }
  Must(objects.status());
  for (const std::string& table : tables) {
    Query list(db, "SELECT wr FROM pragma_table_list(?1)");
    list.Bind(1, table);
    const bool without_rowid = list.Next() && list.Int(0) != 0;
    std::set<int> key;
    Query columns(db, "SELECT cid, pk FROM pragma_table_info(?1)");
    columns.Bind(1, table);
    while (columns.Next()) {
      if (columns.Int(1) != 0) {
        key.insert(static_cast<int>(columns.Int(0)));
      }
    }
    Query rows(db, std::string("SELECT ") + (without_rowid ? "" : "_rowid_, ") + "* FROM " +
                       SqlIdentifier(table));
    while (rows.Next()) {
      std::string name, text;
      for (int i = 0; i < sqlite3_column_count(rows.get()); ++i) {
        const std::string value = ColumnText(rows, i) + " ";
        (without_rowid ? key.contains(i) : i == 0) ? name += value : text += value;
      }
      content.rows[table][name] = text;
    }
    Must(rows.status());
  }
  Query version(db, "PRAGMA user_version");
  if (version.Next()) {
    content.user_version = version.Int(0);
  }
  return content;
}

}  // namespace

std::string DatabaseContent::Difference(const DatabaseContent& other) const {
  for (const auto* pair : {this, &other}) {
    const DatabaseContent& a = *pair;
    const DatabaseContent& b = pair == this ? other : *this;
    const std::string side = pair == this ? "left: " : "right: ";
    for (const auto& [name, sql] : a.schema) {
      auto found = b.schema.find(name);
      if (found == b.schema.end() || found->second != sql) {
        return side + name + " " + sql;
      }
    }
    for (const auto& [table, of_table] : a.rows) {
      auto found = b.rows.find(table);
      for (const auto& [key, values] : of_table) {
        if (found == b.rows.end() || !found->second.contains(key) ||
            found->second.at(key) != values) {
          return side + table + " " + key + ": " + values.substr(0, 200);
        }
      }
    }
  }
  return user_version == other.user_version ? "" : "user_version";
}

DatabaseContent ReadContent(const std::string& path) {
  auto db = Connection::Open(path, SQLITE_OPEN_READONLY, "", 0);
  Must(db.status());
  return Read(db->get());
}

DatabaseContent ReadContent(const Bytes& database) {
  auto db = Connection::Open(":memory:", SQLITE_OPEN_READWRITE, "", 0);
  Must(db.status());
  Bytes copy = database;
  copy[18] = copy[19] = 1;  // a WAL is nothing for a database in memory
  const auto size = static_cast<sqlite3_int64>(copy.size());
  if (sqlite3_deserialize(db->get(), "main", copy.data(), size, size,
                          SQLITE_DESERIALIZE_READONLY) != SQLITE_OK) {
    throw std::runtime_error("sqlite3_deserialize");
  }
  return Read(db->get());
}

}  // namespace sqlite_s3
