// Random histories over every kind of table: undo gives back exactly what was, or refuses with a
// reason that is one; a diff's script makes B of A. SQLITE_S3_UNDO_COMMITS=1000 makes them longer,
// SQLITE_S3_UNDO_SEED=N other ones.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/restore/random_sql.h"
#include "tests/restore/rows_fixture.h"

namespace sqlite_s3 {
namespace {

struct Kind {
  uint32_t page_size;
  int auto_vacuum;
  const char* encoding;
};

class UndoPropertyTest : public RowsFixture, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    const char* commits = std::getenv("SQLITE_S3_UNDO_COMMITS");
    commits_ = commits != nullptr ? std::atoi(commits) : 20;
    const char* seed = std::getenv("SQLITE_S3_UNDO_SEED");
    seed_ = seed != nullptr ? std::strtoull(seed, nullptr, 10) * 1'000'003 : 0;
  }

  void Grow(SqliteHistory& history, RandomSql& sql) {
    while (static_cast<int>(txids_.size()) < commits_) {
      const Txid txid = history.Run(sql.Next());
      if (!txid) {
        (void)history.Run("ROLLBACK");  // one that failed in the middle
        continue;
      }
      txids_.push_back(txid);
      if (sql.Below(3) == 0) {
        history.history().Cut();
      }
      if (sql.Below(10) == 0) {
        history.history().Cut();
        history.history().MakeImage(txid);
      }
    }
    history.history().Cut();
  }

  // Whatever their rowids are: of tables that a VACUUM numbered anew.
  static void DropRowids(const ChangeSet& changes, DatabaseContent* content) {
    for (const TableChanges& table : changes.tables) {
      auto rows = content->rows.find(table.name);
      if (table.renumbered == 0 || rows == content->rows.end()) {
        continue;
      }
      std::multiset<std::string> values;
      for (const auto& [key, text] : rows->second) {
        values.insert(text);
      }
      rows->second.clear();
      for (const std::string& text : values) {
        rows->second["#" + std::to_string(rows->second.size())] = text;
      }
    }
  }

  // B with the rows of commit N as they were before it; and whether B has them as N left them.
  static DatabaseContent Merge(const DatabaseContent& before, const DatabaseContent& after,
                               DatabaseContent later, bool* touched) {
    std::set<std::pair<std::string, std::string>> keys;
    for (const auto* content : {&before, &after}) {
      for (const auto& [table, rows] : content->rows) {
        for (const auto& [key, values] : rows) {
          keys.insert({table, key});
        }
      }
    }
    const auto get = [](const DatabaseContent& c, const auto& name) -> std::optional<std::string> {
      auto table = c.rows.find(name.first);
      if (table == c.rows.end() || !table->second.contains(name.second)) {
        return std::nullopt;
      }
      return table->second.at(name.second);
    };
    for (const auto& name : keys) {
      const auto old = get(before, name);
      const auto now = get(after, name);
      if (old == now) {
        continue;
      }
      if (name.first == "sqlite_sequence" && get(later, name) != now) {
        continue;  // stays as it is
      }
      *touched |= get(later, name) != now;
      if (old) {
        later.rows[name.first][name.second] = *old;
      } else {
        later.rows[name.first].erase(name.second);
      }
    }
    std::erase_if(later.rows, [](const auto& table) { return table.second.empty(); });
    for (const auto* content : {&before, &after}) {
      for (const auto& [name, sql] : content->schema) {
        auto old = before.schema.find(name);
        auto now = after.schema.find(name);
        const bool same =
            old != before.schema.end() && now != after.schema.end() && old->second == now->second;
        if (!same) {
          later.schema.erase(name);
          if (old != before.schema.end()) {
            later.schema[name] = old->second;
          }
        }
      }
    }
    if (before.user_version != after.user_version) {
      later.user_version = before.user_version;
    }
    return later;
  }

  // Whether two rows of the table WITHOUT ROWID have one key under its collation: k1 and K1.
  static bool OneKey(const DatabaseContent& content) {
    std::set<std::string> seen;
    auto found = content.rows.find("wr");
    if (found != content.rows.end()) {
      for (const auto& [key, values] : found->second) {
        if (!seen.insert(key.starts_with("t4b") ? "t6b" + key.substr(3) : key).second) {
          return true;
        }
      }
    }
    return false;
  }

  // Whether two rows have the same value in the second column.
  static bool Twice(const DatabaseContent& content, const std::string& table) {
    std::set<std::string> seen;
    auto found = content.rows.find(table);
    if (found != content.rows.end()) {
      for (const auto& [key, values] : found->second) {
        const size_t begin = values.find(' ') + 1;
        const std::string value = values.substr(begin, values.find(' ', begin) - begin);
        if (value != "n" && !seen.insert(value).second) {
          return true;
        }
      }
    }
    return false;
  }

  // Whether a child has no parent.
  static bool Orphans(DatabaseContent content) {
    std::set<std::string> parents;
    for (const auto& [key, values] : content.rows["parent"]) {
      parents.insert(key);
    }
    for (const auto& [key, values] : content.rows["child"]) {
      const std::string parent = values.substr(values.find(' ') + 1);
      if (parent != "n " && !parents.contains(parent)) {
        return true;
      }
    }
    return false;
  }

  int commits_ = 0;
  uint64_t seed_ = 0;
  std::vector<Txid> txids_;
};

TEST_P(UndoPropertyTest, GivesBackExactlyWhatWasOrRefusesForAReason) {
  SqliteHistory history(*store_, GetParam().page_size, 42 + GetParam().page_size,
                        GetParam().auto_vacuum, GetParam().encoding);
  ASSERT_TRUE(history.Run(RandomSql::kSchema));
  RandomSql sql(seed_ + 7 + GetParam().page_size);
  Grow(history, sql);
  int undone = 0, merged = 0, conflicts = 0, obstacles = 0;
  for (size_t i = 0; i < txids_.size(); ++i) {
    const Txid txid = txids_[i];
    SCOPED_TRACE(FormatTxid(txid));
    const DatabaseContent before = ReadContent(history.Reference(txid.Prev()));
    const DatabaseContent after = ReadContent(history.Reference(txid));
    const bool off = i % 2 == 0;
    auto plan = Plan(txid, txid, off);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->conflicts.empty());
    if (plan->script.empty()) {
      ASSERT_FALSE(plan->obstacles.empty());
      EXPECT_NE(before.schema, after.schema) << plan->obstacles[0];
      ++obstacles;
    } else {
      DatabaseContent content = Apply(history.Reference(txid), plan->script, off);
      DatabaseContent expected = before;
      DropRowids(plan->changes, &content);
      DropRowids(plan->changes, &expected);
      ASSERT_EQ(content.Difference(expected), "") << plan->script.substr(0, 5000);
      ++undone;
    }
    // The same commit, with others after it.
    const Txid until = txids_[std::min(txids_.size() - 1, i + 1 + sql.Below(6))];
    auto later = Plan(txid, until, off);
    ASSERT_OK(later);
    bool touched = false;
    const DatabaseContent now = ReadContent(history.Reference(until));
    // Compared by other tests: an index that was made anew, and tables whose columns changed.
    std::set<std::string> others{"sqlite_stat1"};
    if (!later->left_out.empty()) {
      others.insert("sqlite_sequence");
    }
    for (const std::string& table : later->rebuilt) {
      others.insert({table + "_data", table + "_idx", table + "_docsize"});
    }
    bool altered = false;
    for (const SchemaChange& change : later->changes.schema) {
      if (change.altered()) {
        altered = true;
        others.insert(change.after->name);
      }
    }
    const auto but_others = [&](DatabaseContent content) {
      std::erase_if(content.rows, [&](const auto& table) { return others.contains(table.first); });
      return content;
    };
    DatabaseContent was = but_others(before);
    for (const TableChanges& table : later->changes.tables) {
      if (table.renumbered > 0 && !others.contains(table.name)) {
        was.rows[table.name] = after.rows.at(table.name);  // stays as it is
      }
    }
    DatabaseContent expected = Merge(was, but_others(after), but_others(now), &touched);
    if (!later->script.empty() &&
        (Twice(expected, "uniq") || OneKey(expected) || Orphans(expected))) {
      // Somebody else has the unique value by now, or refers to the row: the script finds out, and
      // changes nothing.
      const DatabaseContent content = Apply(history.Reference(until), later->script, off, true);
      EXPECT_EQ(content.Difference(now), "");
      ++conflicts;
    } else if (!later->script.empty()) {
      EXPECT_FALSE(touched);
      DatabaseContent content = but_others(Apply(history.Reference(until), later->script, off));
      std::erase_if(content.rows, [](const auto& table) { return table.second.empty(); });
      if (before.schema != after.schema) {  // what ANALYZE said of an index goes with the index
        expected.rows.erase("sqlite_stat1");
        content.rows.erase("sqlite_stat1");
      }
      ASSERT_EQ(content.Difference(expected), "") << later->script.substr(0, 5000);
      ++merged;
    } else if (!later->conflicts.empty()) {
      EXPECT_TRUE(touched || altered);
      for (const UndoConflict& conflict : later->conflicts) {
        EXPECT_FALSE(conflict.txids.empty()) << conflict.table << " " << conflict.key;
      }
      ++conflicts;
    } else {
      EXPECT_FALSE(later->obstacles.empty());
      ++obstacles;
    }
  }
  std::printf(
      "%d undone at once, %d with later commits kept, %d refused for rows changed later, "
      "%d for the schema\n",
      undone, merged, conflicts, obstacles);
  EXPECT_GT(undone, static_cast<int>(txids_.size()) / 2);
}

// The script of a diff between any two points, run as a shell runs it, makes B of A.
TEST_P(UndoPropertyTest, ADiffAppliedToAIsB) {
  SqliteHistory history(*store_, GetParam().page_size, 99, GetParam().auto_vacuum,
                        GetParam().encoding);
  ASSERT_TRUE(history.Run(RandomSql::kSchema));
  RandomSql sql(seed_ + 1000 + GetParam().page_size);
  Grow(history, sql);
  int applied = 0, refused = 0;
  for (int i = 0; i < commits_; ++i) {
    const Txid a = txids_[sql.Below(static_cast<uint32_t>(txids_.size()))];
    const Txid b = txids_[sql.Below(static_cast<uint32_t>(txids_.size()))];
    SCOPED_TRACE(FormatTxid(a) + " .. " + FormatTxid(b));
    auto difference = Diff(a, b, /*script=*/true);
    const DatabaseContent from = ReadContent(history.Reference(a));
    DatabaseContent to = ReadContent(history.Reference(b));
    if (difference.code() == StatusCode::kFailedPrecondition) {
      EXPECT_NE(from.schema, to.schema);
      ++refused;
      continue;
    }
    ASSERT_OK(difference);
    DatabaseContent content =
        Apply(history.Reference(a), difference->script, /*triggers_are_off=*/false);
    for (DatabaseContent* c : {&content, &to}) {
      DropRowids(difference->changes, c);
      std::erase_if(c->rows, [](const auto& table) { return table.second.empty(); });
      if (from.schema != to.schema) {
        c->rows.erase("sqlite_stat1");
      }
    }
    ASSERT_EQ(content.Difference(to), "") << difference->script.substr(0, 5000);
    ++applied;
  }
  std::printf("%d applied, %d refused for an altered table\n", applied, refused);
  EXPECT_GT(applied, 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, UndoPropertyTest,
                         ::testing::Values(Kind{512, 0, "UTF-8"}, Kind{1024, 1, "UTF-16le"},
                                           Kind{4096, 2, "UTF-8"}),
                         [](const auto& p) { return std::to_string(p.param.page_size); });

}  // namespace
}  // namespace sqlite_s3
