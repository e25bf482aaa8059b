#pragma once
// The schema of a database state: its objects, as rows of sqlite_schema read by our own reader, and
// what the columns of a table are, as SQLite itself understands the CREATE TABLE.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/sqlite/connection.h"
#include "restore/rows/btree.h"
#include "restore/target_file.h"

namespace sqlite_s3 {

struct SchemaObject {
  std::string type;  // table, index, view, trigger
  std::string name;
  std::string table;  // tbl_name
  PageNumber root = 0;
  std::string sql;  // UTF-8; empty for indexes that SQLite made itself
  bool virtual_table() const { return type == "table" && root == 0; }
  // Same thing, wherever its root lies.
  bool SameAs(const SchemaObject& other) const {
    return type == other.type && name == other.name && table == other.table && sql == other.sql;
  }
};

// By (type, name); names compare as bytes.
using Schema = std::map<std::pair<std::string, std::string>, SchemaObject>;
// Rows that are no schema rows are kCorruption.
Result<Schema> ReadSchema(const PageView& view, const DatabaseHeader& header);

enum class Affinity : uint8_t { kBlob, kText, kNumeric, kInteger, kReal };
struct Column {
  std::string name;
  Affinity affinity = Affinity::kBlob;
  bool generated = false;         // computed: never written by a script
  std::optional<Value> standard;  // of rows that are older than the column; absent: NULL
};

struct TableInfo {
  std::string name;
  std::string sql;
  PageNumber root = 0;
  bool without_rowid = false;
  std::vector<Column> columns;       // those that are stored, in the table's order; no virtual ones
  int rowid_column = -1;             // INTEGER PRIMARY KEY: the rowid under another name
  std::vector<int> record;           // column of each field of a record
  std::vector<int> key;              // WITHOUT ROWID: columns of the primary key
  std::string rowid_name;            // a name for the rowid that no column has; "": there is none
  bool unique = false;               // has unique indexes beside the rowid
  bool foreign_keys = false;         // refers to tables
  std::vector<std::string> parents;  // which
  TextEncoding encoding = TextEncoding::kUtf8;

  // The columns' values; a record may be of before columns were added.
  Result<std::vector<Value>> Values(int64_t rowid, ByteSpan payload) const;
};

// Asks SQLite, on a scratch file with nothing but the schema's pages. What is in a schema is not
// executed; it is parsed under limits, with the safe settings. One thread.
class TableReader {
 public:
  // Of one schema: `view` and `header` are of any state that has it. `table` is an ordinary table
  // of it. kCorruption when SQLite refuses the schema; the message is SQLite's. What is no CREATE
  // TABLE is refused before SQLite sees it: a view or a virtual table would be opened.
  Result<TableInfo> Describe(const PageView& view, const DatabaseHeader& header,
                             const SchemaObject& table);
  // Which tables' foreign keys lead to a table, by its name in lower case.
  Result<std::map<std::string, std::vector<std::string>>> References(const PageView& view,
                                                                     const DatabaseHeader& header,
                                                                     const Schema& schema);

 private:
  Status OpenSchema(const PageView& view, const DatabaseHeader& header);
  Result<TableInfo> Ask(const PageView& view, const DatabaseHeader& header,
                        const SchemaObject& table);

  std::optional<TargetFile> file_;
  Connection db_;
  std::map<std::string, TableInfo> cache_;  // by name
};

}  // namespace sqlite_s3
