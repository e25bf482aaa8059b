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

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
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

// What the committing thread knows of it. A commit lies in the WAL that was there when its
// transaction began, or in one begun since; where the frame fits both, the one who captures them
// can tell.
struct ToldPlace {
  CommitPlace place;
  // Where the commit lies if the WAL before `place`'s is this one and has that frame.
  std::optional<CommitPlace> unless;
};

// What capture knows of it.
struct CapturedPlace {
  CommitPlace place;
  // The last commit of the WAL before (frame 0: it had none), when no WAL between the two was
  // missed and all of it was captured.
  std::optional<CommitPlace> wal_before;
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
  // From a commit's visibility to its hook are a few microseconds of one thread, unless it has no
  // core: `patience` is for that.
  explicit StatementInbox(uint64_t most_bytes,
                          std::chrono::milliseconds patience = std::chrono::milliseconds(250))
      : most_bytes_(most_bytes), patience_(patience) {}

  // What a connection says of itself: a statement that may commit is under way.
  class Expectation {
   public:
    void Begin() { begun_.store(true, std::memory_order_release); }
    // Its batch, if it has one, was put.
    void End() { begun_.store(false, std::memory_order_release); }

   private:
    friend class StatementInbox;
    std::atomic<bool> begun_{false};
    bool waited_in_vain_ = false;  // Take's: since it last saw it not begun
  };
  std::shared_ptr<Expectation> Register();

  void Put(const ToldPlace& place, RecordedCommit commit);

  // The batches of these commits, in their order; empty where there is none. A commit can be
  // captured before its thread has run the hook: while one is expected, waits for those that miss,
  // up to `patience`, and not again for the same statement. One thread.
  std::vector<std::optional<RecordedCommit>> Take(const std::vector<CapturedPlace>& places);

  uint64_t dropped() const { return dropped_; }

 private:
  struct Hash {
    size_t operator()(const CommitPlace& p) const {
      return ((size_t{p.salt1} << 32 | p.frame) * 0x9E3779B97F4A7C15u) ^ p.salt2;
    }
  };
  struct Batch {
    RecordedCommit commit;
    std::optional<CommitPlace> unless;  // ToldPlace's
  };
  void Sort(std::vector<std::pair<ToldPlace, RecordedCommit>>&& arrived);
  void LetGo();
  bool Expected();

  const uint64_t most_bytes_;
  const std::chrono::milliseconds patience_;
  std::atomic<uint64_t> arrived_bytes_{0};  // not yet sorted
  std::atomic<uint64_t> dropped_{0};
  std::mutex mutex_;  // of the two below; held for moments
  std::vector<std::pair<ToldPlace, RecordedCommit>> arrivals_;
  std::vector<std::weak_ptr<Expectation>> expectations_;
  // Take's own.
  std::unordered_map<CommitPlace, Batch, Hash> batches_;
  std::deque<CommitPlace> order_;  // of arrival; places of taken batches are skipped
  uint64_t bytes_ = 0;             // of batches_
};

// Takes batches apart for the segment: redacts, finds values, marks. Remembers what it found out
// about a text, for statements are few and come again. One thread.
class StatementDescriber {
 public:
  // `detail` is what may leave the process.
  StatementDescriber(StatementDetail detail, std::string exclude)
      : detail_(detail), exclude_(std::move(exclude)) {}
  CommitStatements Describe(RecordedCommit commit);

 private:
  struct About {
    uint8_t flags = 0;
    bool last_insert_rowid = false;
    std::string redacted;  // only with kText
  };
  const About& Look(const RecordedStatement& statement);

  const StatementDetail detail_;
  const std::string exclude_;
  std::unordered_map<std::string, About> known_;
};

}  // namespace sqlite_s3
