#include "tests/restore/random_sql.h"

namespace sqlite_s3 {

std::string RandomSql::Next() {
  if (Below(5) != 0) {
    return "PRAGMA foreign_keys=ON;" + Change();
  }
  std::string sql = "PRAGMA foreign_keys=ON;BEGIN;";
  for (uint32_t n = 1 + Below(6); n > 0; --n) {
    sql += Change() + ";";
  }
  return sql + (Below(8) == 0 ? "ROLLBACK;" : "COMMIT;");
}

std::string RandomSql::Real() {
  switch (Below(6)) {
    case 0:
      return "9e999";
    case 1:
      return "-9e999";
    case 2:
      return std::to_string(Below(1000)) + ".0";
    case 3:
      return "4.9e-324";
    default:
      return "(" + std::to_string(static_cast<int64_t>(random_())) + "/" +
             std::to_string(1 + random_() % 1'000'000'007) + ".0)";
  }
}

std::string RandomSql::Value() {
  switch (Below(11)) {
    case 0:
      return "NULL";
    case 1:
      return std::to_string(static_cast<int64_t>(random_()));
    case 2:
      return "(-9223372036854775807-1)";
    case 3:
      return Real();
    case 4:
      return "CAST(x'61006200ff' AS TEXT)";
    case 5:
      return "'it''s \"quoted\" \xc3\xa9\xf0\x9f\x90\x98'";
    case 6:
      return "randomblob(" + std::to_string(Below(3000)) + ")";
    case 7:
      return "hex(randomblob(" + std::to_string(Below(1500)) + "))";
    case 8:
      return "''";
    case 9:
      return "'line' || char(10) || 'escape' || char(27)";
    default:
      return std::to_string(Below(20));
  }
}

std::string RandomSql::Change() {
  const std::string id = Number(40);
  switch (Below(37)) {
    case 0:
    case 1:
      return "INSERT INTO plain VALUES(" + Value() + "," + Value() + "," + Value() + ")";
    case 2:
      return "UPDATE plain SET b=" + Value() + " WHERE rowid%5=" + Number(5);
    case 3:
      return "DELETE FROM plain WHERE rowid%7=" + Number(7);
    case 4:
    case 5:
      return "INSERT INTO ipk(v,r,b) VALUES(" + Text() + "," + Real() + "," + Value() + ")";
    case 6:
      return "UPDATE ipk SET r=" + Real() + ",v=" + Text() + " WHERE id=" + id;
    case 7:
      return "DELETE FROM ipk WHERE id=" + id;
    case 8:
      return "INSERT OR REPLACE INTO wr VALUES('K" + Number(9) + "'," + Number(4) + "," + Value() +
             ")";
    case 9:
      return "UPDATE OR IGNORE wr SET k=lower(k) WHERE n=" + Number(4);
    case 10:
      return "DELETE FROM wr WHERE n=" + Number(4);
    case 11:
      return "INSERT OR REPLACE INTO gen(id,x,y) VALUES(" + id + "," + Number(99) + "," + Text() +
             ")";
    case 12:
      return "UPDATE gen SET x=x+1 WHERE id%3=" + Number(3);
    case 13:
      return "INSERT OR IGNORE INTO uniq(email,name) VALUES('m" + Number(30) + "'," + Value() + ")";
    case 14:  // two rows change places
      return "SAVEPOINT s;UPDATE uniq SET email='tmp' WHERE id=1;"
             "UPDATE uniq SET email=(SELECT 'x'||hex(randomblob(4))) WHERE id=2;"
             "UPDATE uniq SET email='m" +
             Number(30) + "' WHERE id=1;RELEASE s";
    case 15:
      return "DELETE FROM uniq WHERE id%4=" + Number(4);
    case 16:
      return "INSERT INTO \"odd \"\" name\" VALUES(" + Text() + "," + Real() + "," + Value() + ")";
    case 17:
      return "UPDATE \"odd \"\" name\" SET \"select\"=" + Value() + " WHERE _rowid_%3=0";
    case 18:
      return "INSERT OR IGNORE INTO parent VALUES(" + id + "," + Value() + ")";
    case 19:
      return "INSERT OR IGNORE INTO child SELECT NULL, id FROM parent WHERE id%3=" + Number(3);
    case 20:
      return "DELETE FROM parent WHERE id=" + id;
    case 21:
      return "INSERT INTO strict_t VALUES(" + Number(9) + "," + Real() + "," + Text() +
             ",randomblob(9)," + Value() + ")";
    case 22:
      if (Below(3) == 0) {
        return "INSERT INTO f2 VALUES('word" + Number(9) + "')";
      }
      return "INSERT INTO f VALUES('word" + Number(50) + " word" + Number(50) + "')";
    case 23:
      return "DELETE FROM f WHERE rowid%5=" + Number(5);
    case 24:
      return "PRAGMA user_version=" + Number(1000);
    case 25:
      return Below(2) == 0 ? "CREATE INDEX IF NOT EXISTS plain_a ON plain(a)"
                           : "DROP INDEX IF EXISTS plain_a";
    case 26:
      return Below(2) == 0 ? "CREATE TABLE IF NOT EXISTS made(id INTEGER PRIMARY KEY, v UNIQUE)"
                           : "DROP TABLE IF EXISTS made";
    case 27:
      return "INSERT OR IGNORE INTO made(v) SELECT b FROM plain LIMIT " + Number(9);
    case 28:
      return Below(2) == 0 ? "DROP VIEW IF EXISTS seen"
                           : "CREATE VIEW IF NOT EXISTS seen AS SELECT id FROM ipk";
    case 29:  // in place: only overflow pages change
      return "UPDATE ipk SET b=CAST(substr(b,1,length(b)-8)||x'" + Number(9) +
             "122334455667788' "
             "AS BLOB) WHERE length(b)>1000 AND typeof(b)='blob' AND id%2=" +
             Number(2);
    case 30:
      return "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<" + Number(60) +
             ") INSERT INTO ipk(v,r) SELECT hex(randomblob(30)), i/3.0 FROM c";
    case 31:
      return "DELETE FROM ipk WHERE id>(SELECT max(id)-" + Number(80) + " FROM ipk)";
    case 32:
      return "ANALYZE";
    case 33:
      return "ALTER TABLE plain DROP COLUMN d" + Number(3);
    case 34:
      return "ALTER TABLE plain RENAME COLUMN d" + Number(3) + " TO d" + Number(3);
    case 35:
      return Below(2) == 0 ? "CREATE VIRTUAL TABLE IF NOT EXISTS f2 USING fts5(x)"
                           : "DROP TABLE IF EXISTS f2";
    default:
      return Below(3) != 0 ? "ALTER TABLE plain ADD COLUMN d" + Number(3) + " DEFAULT 'd'"
                           : "VACUUM";
  }
}

}  // namespace sqlite_s3
