#pragma once
// What a database holds, row by row and value by value, to be compared.

#include <map>
#include <set>
#include <string>

#include "common/base/bytes.h"

namespace sqlite_s3 {

struct DatabaseContent {
  std::map<std::string, std::string> schema;  // "index t_a" -> its SQL
  // table -> key (rowid, or the primary key of a table WITHOUT ROWID) -> typed values, bit by bit
  std::map<std::string, std::map<std::string, std::string>> rows;
  int64_t user_version = 0;
  bool operator==(const DatabaseContent&) const = default;
  // For messages: the first difference.
  std::string Difference(const DatabaseContent& other) const;
};

// Of a database file; ends the test program when SQLite cannot read it. Virtual tables are not
// asked: their storage is.
DatabaseContent ReadContent(const std::string& path);
DatabaseContent ReadContent(const Bytes& database);

}  // namespace sqlite_s3
