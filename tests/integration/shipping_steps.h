#pragma once
// Steps: transactions whose effect follows from their number alone, so that any restored database
// tells which step it must be at, and what must be in it then.

#include <string>

namespace sqlite_s3 {

constexpr const char* kStepsSchema =
    "create table steps(n integer primary key);"
    "create table t(id integer primary key, a, b);"
    "create index i on t(a);"
    "insert into steps values(0)";

// What step `n` >= 1 does, without BEGIN and COMMIT.
inline std::string StepSql(int n) {
  const std::string s = std::to_string(n);
  // Text that differs from row to row, of `bytes` bytes.
  auto text = [&](const std::string& row, int bytes) {
    return "substr(replace(hex(zeroblob(500)), '00', printf('%08x', (" + row + "*2654435761+" + s +
           "*40503)&4294967295)), 1, " + std::to_string(bytes) + ")";
  };
  auto rows = [&](int count, int bytes) {
    return "with recursive r(i) as (select 1 union all select i+1 from r where i<" +
           std::to_string(count) + ") insert into t(a,b) select i*" + s + "%97, " +
           text("i", bytes) + " from r";
  };
  std::string sql;
  switch (n % 10) {
    case 3:
      sql = "update t set b=" + text("id", 300) + " where id%5=" + std::to_string(n % 5);
      break;
    case 4:
      sql = "delete from t where id%3=" + std::to_string(n % 3) + "; pragma incremental_vacuum(50)";
      break;
    case 7:
      sql = rows(n % 20 == 7 ? 150 : 40, 3900);  // the first is more than the engine holds
      break;
    case 9:
      sql = "delete from t; pragma incremental_vacuum";
      break;
    default:
      sql = rows(1 + n % 4, 200);
  }
  return sql + "; insert into steps values(" + s + ")";
}

// One row of one column: the last step, how many there were, and everything else there is.
constexpr const char* kStepsContent =
    "select (select max(n) from steps) || ' ' || (select count(*) from steps) || ' ' || "
    "ifnull((select group_concat(id || ':' || a || ':' || b) from (select * from t order by id)), "
    "'')";

}  // namespace sqlite_s3
