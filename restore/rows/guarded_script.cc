#include "restore/rows/guarded_script.h"

#include <fmt/format.h>

#include <utility>

#include "restore/rows/row_sql.h"

namespace sqlite_s3 {

void GuardedScript::Ddl(const std::string& text) {
  Line("SAVEPOINT s3_undo_step;");
  Line(text);
}

void GuardedScript::Begin() {
  Line("-- " + title_);
  Line("-- Commits only if every row is as expected; else it changes nothing. Where it is run by");
  Line("-- the sqlite3 shell: sqlite3 -bail DATABASE < FILE. It switches foreign keys off on its");
  Line("-- connection, and checks them itself.");
  Line("PRAGMA foreign_keys=OFF;");
  Line("SAVEPOINT s3_undo;");
  // Made inside the transaction: when that is rolled back, it goes, and with it every statement
  // that follows in a shell which does not stop at errors.
  Line(
      "CREATE TEMP TABLE s3_undo_guard(base INTEGER, violations INTEGER, fine INTEGER, ok "
      "INTEGER, CONSTRAINT \"the database is not as the script expects: nothing was changed\" "
      "CHECK(ok));");
  Line(fmt::format("INSERT INTO {}(base,violations) SELECT total_changes(),{};", kGuard,
                   Violations()));
}

std::string GuardedScript::Violations() const {
  std::string sum;
  for (const std::string& table : check_foreign_keys_) {
    sum += (sum.empty() ? "" : "+") +
           std::string("(SELECT count(*) FROM pragma_foreign_key_check(") + SqlText(table) + "))";
  }
  return sum.empty() ? "0" : sum;
}

void GuardedScript::Note(const std::string& condition) {
  Line(fmt::format("INSERT INTO {}(fine) SELECT coalesce({},0) FROM {} WHERE base IS NOT NULL;",
                   kGuard, condition, kGuard));
  ++notes_;
  ++changed_;
}

void GuardedScript::CountRows() { Note(fmt::format("total_changes()=base+{}", changed_ + 1)); }

void GuardedScript::CountFromHere() {
  Line(fmt::format("UPDATE {} SET base=total_changes() WHERE base IS NOT NULL;", kGuard));
  changed_ = 0;
}

void GuardedScript::Exists(const std::string& type, const std::string& name,
                           const std::string& sql) {
  Note("EXISTS(SELECT 1 FROM main.sqlite_schema WHERE type=" + SqlText(type) +
       " AND name=" + SqlText(name) + " AND sql=" + SqlText(sql) + ")");
}

void GuardedScript::Row(const std::string& sql) {
  if (!sql.empty()) {
    Line(sql);
    ++changed_;
  }
}

std::string GuardedScript::End() {
  if (!check_foreign_keys_.empty()) {
    Note(Violations() + "<=violations");
  }
  Note("(SELECT foreign_keys FROM pragma_foreign_keys)=0");
  Line(fmt::format("INSERT OR ROLLBACK INTO {}(ok) SELECT count(fine)={} AND min(fine)=1 FROM {};",
                   kGuard, notes_, kGuard));
  Line("RELEASE s3_undo;");
  Line("DROP TABLE temp.s3_undo_guard;");
  return std::move(out_);
}

}  // namespace sqlite_s3
