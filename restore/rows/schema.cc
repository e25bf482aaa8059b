#include "restore/rows/schema.h"

#include <strings.h>

#include <algorithm>
#include <set>

#include "common/base/ascii.h"
#include "common/os/file.h"
#include "restore/rows/column_default.h"
#include "restore/rows/query.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxSchemaBytes = uint64_t{64} << 20;
constexpr int kStepsPerCall = 1'000'000;
constexpr int kMaxCalls = 2000;

bool SameName(const std::string& a, const char* b) { return strcasecmp(a.c_str(), b) == 0; }

// Datatypes, section 3.1: the rules in their order.
Affinity AffinityOf(std::string_view declared) {
  const std::string type = ToUpper(declared);
  const auto has = [&](const char* word) { return type.find(word) != std::string::npos; };
  if (has("INT")) {
    return Affinity::kInteger;
  }
  if (has("CHAR") || has("CLOB") || has("TEXT")) {
    return Affinity::kText;
  }
  if (has("BLOB") || type.empty()) {
    return Affinity::kBlob;
  }
  if (has("REAL") || has("FLOA") || has("DOUB")) {
    return Affinity::kReal;
  }
  return Affinity::kNumeric;
}

Result<std::string> SchemaText(const Value& value, TextEncoding encoding) {
  if (value.type == Value::Type::kNull) {
    return std::string();
  }
  auto text = value.type == Value::Type::kText ? TextToUtf8(value.bytes, encoding) : std::nullopt;
  if (!text) {
    return CorruptionError("a row of sqlite_schema holds no text where there must be one");
  }
  return *text;
}

// In a STRICT table ANY takes values as they are.
bool IsStrict(const std::string& sql) {
  const size_t end = sql.rfind(')');
  return end != std::string::npos && strcasestr(sql.c_str() + end, "strict") != nullptr;
}

}  // namespace

void HardenConnection(sqlite3* db) {
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
  sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 1000);
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 16 << 20);
  sqlite3_progress_handler(
      db, kStepsPerCall,
      [](void*) {
        thread_local int calls = 0;
        return ++calls % kMaxCalls == 0 ? 1 : 0;
      },
      nullptr);
}

Result<Schema> ReadSchema(const PageView& view, const DatabaseHeader& header) {
  Schema schema;
  ASSIGN_OR_RETURN(const TreePages tree, WalkTree(view, 1, header.usable_bytes));
  uint64_t bytes = 0;
  OverflowBudget budget(view);
  for (const PageNumber number : tree.rows) {
    ASSIGN_OR_RETURN(const BtreePage page, BtreePage::Read(view, number, header.usable_bytes));
    if (!page.table() || page.interior()) {
      return CorruptionError("sqlite_schema is not a table");
    }
    for (uint32_t i = 0; i < page.cell_count(); ++i) {
      ASSIGN_OR_RETURN(const Cell cell, page.CellAt(i));
      bytes += cell.payload_bytes;
      if (bytes > kMaxSchemaBytes) {
        return ResourceExhaustedError("the schema is larger than 64 MiB");
      }
      ASSIGN_OR_RETURN(const Bytes payload, ReadPayload(view, cell, header.usable_bytes, budget));
      ASSIGN_OR_RETURN(const std::vector<Value> row, DecodeRecord(payload));
      if (row.size() < 5 || row[3].integer < 0 || row[3].integer > view.page_count()) {
        return CorruptionError("a row of sqlite_schema is malformed");
      }
      SchemaObject object;
      ASSIGN_OR_RETURN(object.type, SchemaText(row[0], header.encoding));
      ASSIGN_OR_RETURN(object.name, SchemaText(row[1], header.encoding));
      ASSIGN_OR_RETURN(object.table, SchemaText(row[2], header.encoding));
      object.root = static_cast<PageNumber>(row[3].integer);
      ASSIGN_OR_RETURN(object.sql, SchemaText(row[4], header.encoding));
      schema[{object.type, object.name}] = object;
    }
  }
  return schema;
}

Result<std::vector<Value>> TableInfo::Values(int64_t rowid, ByteSpan payload) const {
  ASSIGN_OR_RETURN(std::vector<Value> fields, DecodeRecord(payload));
  std::vector<Value> values(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].standard) {
      values[i] = *columns[i].standard;
    }
  }
  if (fields.size() > record.size()) {
    return CorruptionError("a row of table '" + name + "' has more fields than the table columns");
  }
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto column = static_cast<size_t>(record[i]);
    values[column] = std::move(fields[i]);
    // A whole number in such a column is stored as an integer, to save space.
    if (columns[column].affinity == Affinity::kReal &&
        values[column].type == Value::Type::kInteger) {
      values[column].type = Value::Type::kReal;
      values[column].real = static_cast<double>(values[column].integer);
    }
  }
  if (rowid_column >= 0) {
    values[static_cast<size_t>(rowid_column)] = Value::Integer(rowid);
  }
  return values;
}

Status TableReader::OpenSchema(const PageView& view, const DatabaseHeader& header) {
  if (db_) {
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(file_, TargetFile::Create(""));
  const uint32_t page_size = view.page_size();
  const auto copy = [&](PageNumber number) -> Status {
    ASSIGN_OR_RETURN(const ByteSpan page, view.Read(number));
    return WriteAt(file_->fd(), uint64_t{number - 1} * page_size, page, file_->path());
  };
  ASSIGN_OR_RETURN(const TreePages tree, WalkTree(view, 1, header.usable_bytes));
  for (const PageNumber number : tree.interior) {
    RETURN_IF_ERROR(copy(number));
  }
  OverflowBudget budget(view);
  for (const PageNumber number : tree.rows) {
    RETURN_IF_ERROR(copy(number));
    ASSIGN_OR_RETURN(const BtreePage page, BtreePage::Read(view, number, header.usable_bytes));
    for (uint32_t i = 0; page.has_rows() && i < page.cell_count(); ++i) {
      ASSIGN_OR_RETURN(const Cell cell, page.CellAt(i));
      std::vector<PageNumber> chain;
      RETURN_IF_ERROR(ReadPayload(view, cell, header.usable_bytes, budget, &chain).status());
      for (const PageNumber overflow : chain) {
        RETURN_IF_ERROR(copy(overflow));
      }
    }
  }
  // No WAL: this file is nobody's.
  const uint8_t versions[2] = {1, 1};
  RETURN_IF_ERROR(WriteAt(file_->fd(), 18, versions, file_->path()));
  RETURN_IF_ERROR(
      TruncateFile(file_->fd(), uint64_t{view.page_count()} * page_size, file_->path()));
  std::string uri = "file:";
  for (const char c : file_->path()) {
    constexpr char kHex[] = "0123456789abcdef";
    const auto byte = static_cast<uint8_t>(c);
    if (c == '?' || c == '#' || c == '%') {
      (uri += '%').append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    } else {
      uri += c;
    }
  }
  ASSIGN_OR_RETURN(
      db_, Connection::Open(uri + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "", 0));
  HardenConnection(db_.get());
  return Status::Ok();
}

Result<TableInfo> TableReader::Describe(const PageView& view, const DatabaseHeader& header,
                                        const SchemaObject& table) {
  if (auto known = cache_.find(table.name); known != cache_.end()) {
    return known->second;
  }
  // SQLite writes these words itself, whatever the application wrote.
  if (strncasecmp(table.sql.c_str(), "create table ", 13) != 0) {
    return CorruptionError("table '" + Printable(table.name) + "' has pages, but is no table");
  }
  RETURN_IF_ERROR(OpenSchema(view, header));
  auto info = Ask(view, header, table);
  if (!info.ok()) {
    // SQLite's messages quote the schema.
    const StatusCode code = info.status().code();
    return Status(code == StatusCode::kInternal ? StatusCode::kCorruption : code,
                  "table '" + Printable(table.name) + "': " + Printable(info.status().message()));
  }
  cache_[table.name] = *info;
  return info;
}

Result<TableInfo> TableReader::Ask(const PageView& view, const DatabaseHeader& header,
                                   const SchemaObject& table) {
  TableInfo info;
  info.name = table.name;
  info.sql = table.sql;
  info.root = table.root;
  info.encoding = header.encoding;
  {
    ASSIGN_OR_RETURN(const BtreePage root, BtreePage::Read(view, table.root, header.usable_bytes));
    info.without_rowid = !root.table();
  }
  std::string pk_index;
  Query indexes(db_.get(), "SELECT name, \"unique\", origin FROM pragma_index_list(?1)");
  indexes.Bind(1, table.name);
  while (indexes.Next()) {
    info.unique |= indexes.Int(1) != 0;
    if (indexes.Text(2) == "pk") {
      pk_index = indexes.Text(0);
    }
  }
  RETURN_IF_ERROR(indexes.status());

  std::vector<int> column_of_cid;
  int pk_columns = 0;
  int pk_integer = -1;
  Query columns(db_.get(),
                "SELECT name, type, dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY "
                "cid");
  columns.Bind(1, table.name);
  std::vector<std::string> names;
  while (columns.Next()) {
    names.push_back(columns.Text(0));
    if (columns.Int(4) == 2) {  // virtual: nowhere stored
      column_of_cid.push_back(-1);
      continue;
    }
    Column column;
    column.name = columns.Text(0);
    column.affinity = SameName(columns.Text(1), "ANY") && IsStrict(table.sql)
                          ? Affinity::kBlob
                          : AffinityOf(columns.Text(1));
    column.generated = columns.Int(4) == 3;
    if (!columns.IsNull(2) && !column.generated) {
      ASSIGN_OR_RETURN(column.standard,
                       ColumnDefault(header.encoding, columns.Text(2), column.affinity));
    }
    if (columns.Int(3) != 0) {
      ++pk_columns;
      pk_integer =
          SameName(columns.Text(1), "INTEGER") ? static_cast<int>(info.columns.size()) : -1;
    }
    column_of_cid.push_back(static_cast<int>(info.columns.size()));
    info.columns.push_back(std::move(column));
  }
  RETURN_IF_ERROR(columns.status());
  if (info.columns.empty()) {
    return CorruptionError("table '" + Printable(table.name) + "' has no columns");
  }
  if (!info.without_rowid) {
    if (pk_columns == 1 && pk_index.empty()) {
      info.rowid_column = pk_integer;
    }
    for (size_t i = 0; i < info.columns.size(); ++i) {
      info.record.push_back(static_cast<int>(i));
    }
    for (const char* name : {"rowid", "_rowid_", "oid"}) {
      const bool taken = std::any_of(names.begin(), names.end(),
                                     [&](const std::string& n) { return SameName(n, name); });
      if (!taken && info.rowid_name.empty()) {
        info.rowid_name = name;
      }
    }
    if (info.rowid_column >= 0) {
      info.rowid_name = SqlIdentifier(info.columns[static_cast<size_t>(info.rowid_column)].name);
    }
  } else {
    Query fields(db_.get(), "SELECT cid, key FROM pragma_index_xinfo(?1) ORDER BY seqno");
    fields.Bind(1, pk_index);
    while (fields.Next()) {
      const auto cid = static_cast<size_t>(fields.Int(0));
      if (cid >= column_of_cid.size() || column_of_cid[cid] < 0) {
        return CorruptionError("the primary key of table '" + Printable(table.name) +
                               "' is malformed");
      }
      info.record.push_back(column_of_cid[cid]);
      if (fields.Int(1) != 0) {
        info.key.push_back(column_of_cid[cid]);
      }
    }
    RETURN_IF_ERROR(fields.status());
    // A column can be in it twice, under two collations.
    const std::set<int> stored(info.record.begin(), info.record.end());
    if (info.key.empty() || stored.size() != info.columns.size()) {
      return CorruptionError("the primary key of table '" + Printable(table.name) +
                             "' is malformed");
    }
    // The primary key is an index, but rows are found by it: it is no other.
    Query others(db_.get(),
                 "SELECT 1 FROM pragma_index_list(?1) WHERE \"unique\" AND origin<>'pk'");
    others.Bind(1, table.name);
    info.unique = others.Next();
    RETURN_IF_ERROR(others.status());
  }
  Query parents(db_.get(), "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1)");
  parents.Bind(1, table.name);
  while (parents.Next()) {
    info.foreign_keys = true;
    info.parents.push_back(parents.Text(0));
  }
  RETURN_IF_ERROR(parents.status());
  return info;
}

Result<std::map<std::string, std::vector<std::string>>> TableReader::References(
    const PageView& view, const DatabaseHeader& header, const Schema& schema) {
  std::map<std::string, std::vector<std::string>> children;
  for (const auto& [key, object] : schema) {
    // Most tables have no foreign keys, and need not be asked about.
    if (object.type != "table" || object.root == 0 || object.sql.empty() ||
        strcasestr(object.sql.c_str(), "references") == nullptr) {
      continue;
    }
    ASSIGN_OR_RETURN(const TableInfo info, Describe(view, header, object));
    for (const std::string& parent : info.parents) {
      children[ToLower(parent)].push_back(object.name);
    }
  }
  return children;
}

}  // namespace sqlite_s3
