#pragma once
// StatementInbox: statements on their way from committing threads to the segment of their commit.
//
// The binding. SQLite's wal hook tells a thread the frame at which its own commit ends, also when
// others have committed since. A frame number is unique within one WAL, a WAL has its salts: the
// pair names the commit. Capture finds the same pair in the WAL itself. Nothing is ever matched by
// time or order; a commit without a batch has none, and says so.
//
// Thread-safety: all methods, any thread. Memory is bounded: beyond it the oldest batches are let
// go.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/format/statements.h"

namespace sqlite_s3 {

// Names a commit in a WAL.
struct CommitPlace {
  uint32_t salt1 = 0;
  uint32_t salt2 = 0;
  uint32_t frame = 0;
  bool operator==(const CommitPlace&) const = default;
};

// A statement as the committing thread saw it; nothing is taken apart there.
struct RecordedStatement {
  std::string sql;       // as prepared
  std::string expanded;  // by sqlite3_expanded_sql, where it has parameters and values are wanted
  bool control = false;
  bool unknown_values = false;         // it has parameters, and their values could not be had
  bool exact = false;                  // `values` are the application's own
  std::vector<StatementValue> values;  // with `exact`
  int64_t start_us = 0;
  uint64_t changed_rows = 0;
};

struct RecordedCommit {
  StatementsState state = StatementsState::kRecorded;
  uint64_t connection = 0;
  uint32_t settings = 0;
  std::optional<int64_t> last_insert_rowid;
  std::string tag;
  std::vector<RecordedStatement> statements;
  size_t size_bytes() const;
};

class StatementInbox {
 public:
  explicit StatementInbox(uint64_t most_bytes) : most_bytes_(most_bytes) {}

  // A statement that may commit begins; what is returned is for Settle. It is over: its batch, if
  // it has one, was put.
  uint64_t Expect();
  void Settle(uint64_t expected);

  void Put(const CommitPlace& place, RecordedCommit commit);

  // The batches of these commits, in their order; empty where there is none. A commit can be
  // captured before its thread has run the hook: while one is expected, waits for those that miss,
  // up to kPatience, and not for the same one again.
  std::vector<std::optional<RecordedCommit>> Take(const std::vector<CommitPlace>& places);

  uint64_t dropped() const;

 private:
  struct Hash {
    size_t operator()(const CommitPlace& p) const {
      return (size_t{p.salt1} << 32 | p.frame) * 0x9E3779B97F4A7C15u ^ p.salt2;
    }
  };

  const uint64_t most_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::unordered_map<CommitPlace, RecordedCommit, Hash> batches_;
  std::deque<CommitPlace> order_;  // of arrival; places of taken batches are skipped
  uint64_t bytes_ = 0;
  std::set<uint64_t> expected_;
  uint64_t last_expected_ = 0;
  uint64_t waited_in_vain_ = 0;  // up to this one
  uint64_t dropped_ = 0;
};

// Takes the batches apart for the segment: redacts, finds values, marks. `detail` is what may leave
// the process.
CommitStatements DescribeStatements(RecordedCommit commit, StatementDetail detail,
                                    const std::string& exclude);

}  // namespace sqlite_s3
