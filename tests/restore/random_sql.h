#pragma once
// RandomSql: what applications do to rows and tables, in random order. The sequence follows from
// the seed alone.

#include <cstdint>
#include <random>
#include <string>

namespace sqlite_s3 {

class RandomSql {
 public:
  // Of the tables that the changes are of.
  static constexpr char kSchema[] =
      "BEGIN;"
      "CREATE TABLE plain(a, b, c);"
      "CREATE TABLE ipk(id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, r REAL, b BLOB);"
      "CREATE TABLE wr(k TEXT COLLATE NOCASE, n INTEGER, v, PRIMARY KEY(k, n DESC)) WITHOUT ROWID;"
      "CREATE TABLE gen(id INTEGER PRIMARY KEY, w INT AS (x+1) VIRTUAL, x INT, s INT AS (x*2) "
      "STORED,"
      " y TEXT);"
      "CREATE TABLE uniq(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name);"
      "CREATE TABLE \"odd \"\" name\"(\"rowid\" TEXT, \"a'b\" REAL, \"select\" NUMERIC);"
      "CREATE TABLE parent(id INTEGER PRIMARY KEY, v);"
      "CREATE TABLE child(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent ON DELETE CASCADE);"
      "CREATE TABLE strict_t(i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;"
      "CREATE VIRTUAL TABLE f USING fts5(body);"
      "CREATE INDEX ipk_v ON ipk(v, r);"
      "CREATE VIEW seen AS SELECT id, v FROM ipk;"
      "CREATE TRIGGER ipk_log AFTER UPDATE ON ipk BEGIN INSERT INTO plain VALUES('log', old.v, "
      "new.v);"
      "END;"
      "CREATE TRIGGER ipk_gone AFTER DELETE ON ipk BEGIN DELETE FROM gen WHERE id=old.id % 7; END;"
      "COMMIT;";

  explicit RandomSql(uint64_t seed) : random_(seed) {}

  std::string Next();  // one statement, or a transaction
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

 private:
  std::string Real();
  std::string Value();
  std::string Change();
  std::string Text() { return "CAST(" + Value() + " AS TEXT)"; }
  std::string Number(uint32_t n) { return std::to_string(Below(n)); }

  std::mt19937_64 random_;
};

}  // namespace sqlite_s3
