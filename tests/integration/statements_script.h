#pragma once
// StatementsScript: a random application. What it does is decided by the seed alone; when it does
// it is not, so what a test expects must hold at any speed.

#include <map>
#include <random>
#include <set>
#include <string>

#include "tests/integration/statements_fixture.h"

namespace sqlite_s3 {

class StatementsScript : public StatementsFixture {
 public:
  enum class Kind {
    kAnything,
    // Only what gives the same again, through the wrapper: every commit is made by its statements.
    kExact,
  };
  explicit StatementsScript(uint64_t seed, Kind kind = Kind::kAnything)
      : random_(seed), kind_(kind) {
    // What was left at its first row is said with the next statement: sometimes there is none, and
    // all of this is waited out.
    if (kind == Kind::kAnything) {
      statement_patience = std::chrono::seconds(1);
    }
  }
  void TestBody() override {}

  // Runs, ships, restores both ways at every commit or at the last one, and compares.
  void Run(bool every_commit);

  uint64_t total = 0;   // commits
  uint64_t needed = 0;  // their pages
  // What was done, and how often.
  std::map<std::string, uint64_t> done;

 private:
  uint32_t Pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  bool Chance(uint32_t in) { return Pick(in) == 0; }
  std::string Word() { return "w" + std::to_string(Pick(40)); }
  std::string Id() { return std::to_string(1 + Pick(60)); }
  std::string Literal();

  void Create();
  bool Do(App& on, const std::string& sql);
  void Bound(App& on, bool exact);
  void Wrapped(App& on);
  void Change(App& on, bool in_transaction);
  void Rows(App& on);
  void Schema(App& on, bool in_transaction);
  void Text(App& on);
  void Conflict(App& on);
  void Unrepeatable(App& on);
  void FirstRow(App& on);
  void Setting(App& on);
  void Transaction(App& on);
  void Inner(App& on);
  void Retried(App& on);
  void Step(App& on);
  uint64_t Now();
  static std::string Told(const CommitStatements& commit);

  std::mt19937_64 random_;
  const Kind kind_;
  App others_[2];
  std::string story_;
  // The commits made now cannot be repeated; or perhaps not.
  bool must_now_ = false, may_now_ = false;
  std::set<uint64_t> must_, may_;
};

}  // namespace sqlite_s3
