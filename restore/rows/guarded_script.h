#pragma once
// GuardedScript: the text of an SQL script that commits only if everything was as it noted, and
// otherwise does nothing, also in a shell that goes on after errors.
//
// Its guard is a temporary table made in the script's own transaction: every statement that
// changes rows asks for it (row_sql.h: kIfGuard), every condition leaves a row in it, and the last
// statement rolls all back unless every one of them held.

#include <cstdint>
#include <string>
#include <vector>

namespace sqlite_s3 {

class GuardedScript {
 public:
  // `title`: the first line, a comment. `check_foreign_keys`: tables that must not have more
  // violations at the end than at the beginning.
  GuardedScript(std::string title, std::vector<std::string> check_foreign_keys)
      : title_(std::move(title)), check_foreign_keys_(std::move(check_foreign_keys)) {}

  // First.
  void Begin();
  // Any other text; if it changes rows, then between CountRows and CountFromHere.
  void Line(const std::string& text) { out_.append(text).append("\n"); }
  // A change of the schema, which cannot be made conditional: in a savepoint of its own.
  void Ddl(const std::string& text);
  // A statement that must change exactly one row. Empty: none.
  void Row(const std::string& sql);
  // Whether `condition` holds now; the end looks at all of them.
  void Note(const std::string& condition);
  // That the schema has it, made by this SQL.
  void Exists(const std::string& type, const std::string& name, const std::string& sql);
  // Each row was changed, and no other: each statement can change one at most.
  void CountRows();
  // Forgets the changes so far.
  void CountFromHere();
  // Last: gives the text away.
  std::string End();

 private:
  std::string Violations() const;

  const std::string title_;
  const std::vector<std::string> check_foreign_keys_;
  std::string out_;
  uint64_t changed_ = 0;  // rows, of the guard too, since the last CountFromHere
  uint64_t notes_ = 0;
};

}  // namespace sqlite_s3
