#pragma once
// The statements section of a segment: what was meant by each of its commits. Bytes are in
// docs/FORMAT.md, section 2.5; this header has the meaning. The pages are the truth; nothing here
// is needed to restore, and all of it is checked against the pages where it is executed again.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// SQLite's types, with the values of its SQLITE_INTEGER..SQLITE_NULL.
enum class ValueType : uint8_t { kInteger = 1, kReal = 2, kText = 3, kBlob = 4, kNull = 5 };

struct StatementValue {
  ValueType type = ValueType::kNull;
  int64_t integer = 0;
  double real = 0;
  std::string bytes;                                   // text (UTF-8, may hold NUL) or blob
  bool operator==(const StatementValue& other) const;  // reals by their bits
};

enum StatementFlag : uint8_t {
  kStatementRedacted = 1,      // a literal or a value is not here: cannot be executed
  kStatementInexact = 2,       // a value may not be exactly the one that was bound
  kStatementExcluded = 4,      // left out by statements_exclude: there was one, no more is said
  kStatementUnrepeatable = 8,  // names a function that gives another result each time
  kStatementControl = 16,      // BEGIN, COMMIT, SAVEPOINT, RELEASE, ROLLBACK TO
};
inline constexpr uint8_t kKnownStatementFlags = 31;

struct LoggedStatement {
  uint8_t flags = 0;
  std::string sql;                     // one statement, as prepared; literals are "?" when redacted
  int64_t start_us = 0;                // wall clock when it began
  uint64_t changed_rows = 0;           // by it and its triggers, before a rollback of its own
  std::vector<StatementValue> values;  // of parameters 1, 2, ...; empty in text, or without any
  bool operator==(const LoggedStatement&) const = default;
};

// What is not in the SQL but decides what it does. Bits of CommitStatements::settings.
enum ConnectionSetting : uint32_t {
  kSettingForeignKeys = 1,
  kSettingRecursiveTriggers = 2,
  kSettingIgnoreChecks = 4,
  kSettingSecureDelete = 8,
  kSettingSecureDeleteFast = 16,
  kSettingReverseUnordered = 32,
  kSettingNoTriggers = 64,
  kSettingNoViews = 128,
  kSettingLegacyAlter = 256,
  kSettingNoDqsDml = 512,   // double-quoted strings in DML are not allowed
  kSettingNoDqsDdl = 1024,  // nor in DDL
  kSettingMixed = 2048,     // changed within the transaction
  kSettingDeferKeys = 4096,
  kSettingCaseSensitiveLike = 8192,
};
inline constexpr uint32_t kKnownSettings = 16383;

// Why a commit has no statements.
enum class StatementsState : uint8_t {
  kNone = 0,       // not told: another process or program, an origin, a resync, merged commits
  kRecorded = 1,   // these are all of them
  kDisplaced = 2,  // the application has taken SQLite's trace callback for itself
  kDropped = 3,    // too many or too large for the memory they may take
};

struct CommitStatements {
  StatementsState state = StatementsState::kNone;
  // What follows only with kRecorded.
  uint64_t connection = 0;  // number of the connection within the process, from 1
  uint32_t settings = 0;    // ConnectionSetting bits
  // last_insert_rowid() before the first statement, where one of them asks for it.
  std::optional<int64_t> last_insert_rowid;
  std::string tag;  // what s3_tag() said
  std::vector<LoggedStatement> statements;
  int64_t begin_us() const { return statements.empty() ? 0 : statements.front().start_us; }
  bool operator==(const CommitStatements&) const = default;
};

enum class StatementDetail : uint8_t { kText = 1, kValues = 2 };

struct StatementLog {
  StatementDetail detail = StatementDetail::kText;
  // Identifies SQLite's source and compile options: the same number means the same bytes from the
  // same statements.
  uint64_t sqlite_build = 0;
  std::vector<CommitStatements> commits;  // one for each of the segment
  bool operator==(const StatementLog&) const = default;
};

inline constexpr uint8_t kStatementsVersion = 1;
inline constexpr uint64_t kMaxStatementBytes = uint64_t{64} << 20;  // of a segment, before zstd
inline constexpr size_t kMaxTagBytes = 256;

// The section's bytes. kResourceExhausted beyond kMaxStatementBytes, kInvalidArgument for what the
// format cannot say.
Result<Bytes> EncodeStatements(const StatementLog& log, int zstd_level);

// Reads a section of a segment of `commit_count` commits. kCorruption, kUnimplemented for a newer
// version.
Result<StatementLog> ParseStatements(ByteSpan section, uint32_t commit_count);

}  // namespace sqlite_s3
