#include "restore/sql_replayer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "common/sqlite/sql_tokens.h"
#include "common/sqlite/wal_format.h"

namespace sqlite_s3 {
namespace {

// fileformat2, section 1.3.
constexpr size_t kChangeCounter = 24;
constexpr size_t kVersionValidFor = 92;

constexpr uint64_t kCheckpointBytes = 32 << 20;
// The statement reads its clock a little after it begins; SQLite counts milliseconds, and most
// functions seconds.
constexpr int64_t kClockShifts[] = {0, 1000, 2000, 3000, 5000, 10'000, 30'000, 100'000};

bool IsControl(const LoggedStatement& statement) {
  return (statement.flags & kStatementControl) != 0;
}

}  // namespace

SqlReplayer::SqlReplayer(PageStore& pages, uint32_t page_size, const Limits& limits)
    : pages_(pages),
      page_size_(page_size),
      limits_(limits),
      vfs_(pages, page_size, limits.memory_bytes),
      watchdog_(limits.grace_seconds, limits.on_stuck) {}

SqlReplayer::~SqlReplayer() { Close(); }

void SqlReplayer::Close() {
  prepared_.Clear();
  db_.Close();
  vfs_.DropWal();
  settings_.reset();
  frames_taken_ = frames_ = 0;
}

int SqlReplayer::OnWal(void* argument, sqlite3*, const char* schema, int frames) {
  if (std::strcmp(schema, "main") == 0) {
    static_cast<SqlReplayer*>(argument)->frames_ = static_cast<uint32_t>(frames);
  }
  return SQLITE_OK;
}

Status SqlReplayer::Open() {
  ASSIGN_OR_RETURN(db_,
                   Connection::Open(SandboxVfs::kDatabase, SQLITE_OPEN_READWRITE, vfs_.name(), 0));
  sqlite3* db = db_.get();
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 128 << 20);
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 16 << 20);
  sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 1);
  sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100);
  sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
  permissions_.own = true;
  permissions_.Guard(db);
  Status status;
  for (const char* pragma :
       {// First: then the wal-index is this connection's own memory.
        "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA temp_store=MEMORY", "PRAGMA synchronous=OFF",
        "PRAGMA cache_size=-65536", "PRAGMA cell_size_check=ON"}) {
    status = status.ok() ? db_.Exec(pragma) : status;
  }
  Result<std::string> mode = status.ok() ? db_.QueryText("PRAGMA journal_mode") : status;
  permissions_.own = false;
  RETURN_IF_ERROR(mode.status());
  if (*mode != "wal") {
    return FailedPreconditionError("the database is in journal mode '" + *mode + "'");
  }
  sqlite3_wal_hook(db, OnWal, this);
  return Status::Ok();
}

void SqlReplayer::ApplySettings(uint32_t settings) {
  if (settings_ == settings) {
    return;
  }
  settings_ = settings;
  const auto config = [&](int which, bool on) {
    sqlite3_db_config(db_.get(), which, on ? 1 : 0, nullptr);
  };
  const auto is = [&](uint32_t bit) { return (settings & bit) != 0; };
  config(SQLITE_DBCONFIG_ENABLE_FKEY, is(kSettingForeignKeys));
  config(SQLITE_DBCONFIG_ENABLE_TRIGGER, !is(kSettingNoTriggers));
  config(SQLITE_DBCONFIG_ENABLE_VIEW, !is(kSettingNoViews));
  config(SQLITE_DBCONFIG_LEGACY_ALTER_TABLE, is(kSettingLegacyAlter));
  config(SQLITE_DBCONFIG_DQS_DML, !is(kSettingNoDqsDml));
  config(SQLITE_DBCONFIG_DQS_DDL, !is(kSettingNoDqsDdl));
  const std::string secure = is(kSettingSecureDelete)       ? "ON"
                             : is(kSettingSecureDeleteFast) ? "FAST"
                                                            : "OFF";
  permissions_.own = true;
  for (const std::string& pragma :
       {fmt::format("PRAGMA recursive_triggers={:d}", is(kSettingRecursiveTriggers)),
        fmt::format("PRAGMA ignore_check_constraints={:d}", is(kSettingIgnoreChecks)),
        fmt::format("PRAGMA reverse_unordered_selects={:d}", is(kSettingReverseUnordered)),
        fmt::format("PRAGMA case_sensitive_like={:d}", is(kSettingCaseSensitiveLike)),
        "PRAGMA main.secure_delete=" + secure}) {
    (void)db_.Exec(pragma.c_str());  // a wrong setting shows in the result
  }
  permissions_.own = false;
}

Status SqlReplayer::Bind(sqlite3_stmt* statement, const LoggedStatement& logged) {
  sqlite3_clear_bindings(statement);
  const int parameters = sqlite3_bind_parameter_count(statement);
  if (logged.values.size() > static_cast<size_t>(parameters)) {
    return CorruptionError("more values than parameters");
  }
  int number = 0;
  for (const StatementValue& value : logged.values) {
    ++number;
    const auto size = static_cast<sqlite3_uint64>(value.bytes.size());
    int rc = SQLITE_OK;
    switch (value.type) {
      case ValueType::kInteger:
        rc = sqlite3_bind_int64(statement, number, value.integer);
        break;
      case ValueType::kReal:
        rc = sqlite3_bind_double(statement, number, value.real);
        break;
      case ValueType::kText:
        rc = sqlite3_bind_text64(statement, number, value.bytes.data(), size, SQLITE_STATIC,
                                 SQLITE_UTF8);
        break;
      case ValueType::kBlob:
        rc = sqlite3_bind_blob64(statement, number, value.bytes.data(), size, SQLITE_STATIC);
        break;
      case ValueType::kNull:
        rc = sqlite3_bind_null(statement, number);
        break;
    }
    RETURN_IF_ERROR(SqliteStatus(rc, "bind", db_.get()));
  }
  return Status::Ok();
}

void SqlReplayer::Run(const LoggedStatement& logged, size_t index, ReplayResult* result) {
  const auto surprise = [&](const std::string& what) {
    result->surprises.push_back(fmt::format("statement {}: {}", index + 1, what));
    if (result->reason.empty()) {
      result->reason = result->surprises.back();
    }
  };
  SqlTokenizer words(logged.sql);
  permissions_.in_vacuum = EqualsIgnoringCase(words.NextWord().text, "vacuum");
  Result<PreparedStatements::Prepared> prepared =
      prepared_.Get(db_.get(), logged.sql, permissions_);
  if (!prepared.ok()) {
    timed_out_ = watchdog_.fired();
    surprise(prepared.status().message());
    return;
  }
  sqlite3_stmt* const statement = prepared->statement;
  if (Status bound = Bind(statement, logged); !bound.ok()) {
    surprise(bound.message());
    return;
  }
  const auto before = static_cast<uint32_t>(sqlite3_total_changes(db_.get()));
  int rc = SQLITE_ROW;
  while (rc == SQLITE_ROW) {
    rc = sqlite3_step(statement);
  }
  std::string message = rc == SQLITE_DONE ? "" : sqlite3_errmsg(db_.get());
  timed_out_ = rc == SQLITE_INTERRUPT && watchdog_.fired();
  sqlite3_reset(statement);
  const uint32_t changed = static_cast<uint32_t>(sqlite3_total_changes(db_.get())) - before;
  if (timed_out_) {
    surprise(fmt::format("took longer than {} s", limits_.seconds));
  } else if (changed != logged.changed_rows && !IsControl(logged)) {
    surprise(fmt::format("changed {} rows, not {}{}{}", changed, logged.changed_rows,
                         message.empty() ? "" : ": ", message));
  } else if (!message.empty() && !IsControl(logged)) {
    surprise(message);  // perhaps it failed then, too
  }
  if (prepared->changes_schema) {
    // A statement prepared before would begin as it was, and only then be prepared again; virtual
    // tables notice.
    prepared_.Clear();
  }
}

// In WAL mode a connection writes the change counter as it was when it last read page 1 from
// outside its cache, plus one (SQLite, pager_write_changecounter): with the first page it wrote
// itself it repeats its number, after another connection's commit it adds one. Which of the two is
// nothing that a statement decides, so all are tried; the checksum says which it was.
std::vector<Bytes> SqlReplayer::FirstPages(ByteSpan written, uint32_t counter_before) {
  std::vector<Bytes> pages;
  const Bytes as_written(written.begin(), written.end());
  pages.push_back(as_written);
  for (const uint32_t counter : {counter_before, counter_before + 1}) {
    Bytes& page = pages.emplace_back(as_written);
    StoreBe32(&page[kChangeCounter], counter);
    StoreBe32(&page[kVersionValidFor], counter);
  }
  return pages;
}

Result<bool> SqlReplayer::TakeFrames(const CommitRecord* expected) {
  uint32_t page_count = pages_.page_count();
  uint64_t checksum = pages_.checksum();
  const uint32_t before = page_count;
  const Bytes& wal = vfs_.wal();
  std::map<PageNumber, size_t> newest;  // where in the WAL
  if (frames_ != 0) {
    if (vfs_.TakeWalRestarted()) {
      frames_taken_ = 0;
    }
    for (uint32_t frame = frames_taken_ + 1; frame <= frames_; ++frame) {
      const uint64_t at = WalFrameOffset(frame, page_size_);
      if (at + kWalFrameHeaderBytes + page_size_ > wal.size()) {
        return InternalError("the WAL in memory is not whole");
      }
      const WalFrameHeader header = ParseWalFrameHeader(wal.data() + at);
      newest[header.page] = at + kWalFrameHeaderBytes;
      page_count = header.commit_page_count != 0 ? header.commit_page_count : page_count;
    }
    frames_taken_ = frames_;
    frames_ = 0;
  }
  newest.erase(newest.upper_bound(page_count), newest.end());
  std::vector<Bytes> first_page;
  const auto content = [&](size_t at) { return ByteSpan(wal).subspan(at, page_size_); };
  if (expected != nullptr) {
    for (const auto& [page, at] : newest) {
      if (page <= before) {
        ASSIGN_OR_RETURN(const uint64_t old, pages_.HashOf(page));
        checksum ^= old;
      }
      if (page != 1) {
        checksum ^= pages_.hasher().Hash(page, content(at));
      }
    }
    for (uint64_t page = uint64_t{page_count} + 1; page <= before; ++page) {
      if (page != LockBytePage(page_size_)) {
        ASSIGN_OR_RETURN(const uint64_t old, pages_.HashOf(static_cast<PageNumber>(page)));
        checksum ^= old;
      }
    }
    if (auto found = newest.find(1); found != newest.end()) {
      ASSIGN_OR_RETURN(const ByteSpan before_it, pages_.Read(1));
      first_page = FirstPages(content(found->second), LoadBe32(&before_it[kChangeCounter]));
      const auto fits = std::find_if(first_page.begin(), first_page.end(), [&](const Bytes& page) {
        return (checksum ^ pages_.hasher().Hash(1, page)) == expected->db_checksum;
      });
      if (fits == first_page.end()) {
        return false;
      }
      first_page = {*fits};
    } else if (checksum != expected->db_checksum) {
      return false;
    }
    if (page_count != expected->page_count) {
      return false;
    }
  }
  if (page_count > before) {
    RETURN_IF_ERROR(pages_.Resize(page_count));
  }
  for (const auto& [page, at] : newest) {
    const ByteSpan bytes = page == 1 && !first_page.empty() ? ByteSpan(first_page[0]) : content(at);
    RETURN_IF_ERROR(pages_.Write(page, bytes, page <= before));
  }
  if (page_count < before) {
    RETURN_IF_ERROR(pages_.Resize(page_count));
  }
  return true;
}

void SqlReplayer::MaybeCheckpoint() {
  // What it would write is in the page store already; the next commit begins the WAL anew.
  if (vfs_.wal().size() > std::min(kCheckpointBytes, limits_.memory_bytes / 4)) {
    sqlite3_wal_checkpoint_v2(db_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  }
}

Result<ReplayResult> SqlReplayer::Try(const CommitStatements& commit, const CommitRecord* expected,
                                      int64_t clock_shift_us) {
  ReplayResult result;
  timed_out_ = false;
  if (!db_) {
    if (Status opened = Open(); !opened.ok()) {
      Close();
      result.reason = opened.message();
      return result;
    }
  }
  watchdog_.Arm(db_.get(), limits_.seconds);
  ApplySettings(commit.settings);
  if (commit.last_insert_rowid) {
    sqlite3_set_last_insert_rowid(db_.get(), *commit.last_insert_rowid);
  }
  for (size_t i = 0; i < commit.statements.size() && !timed_out_; ++i) {
    vfs_.SetClock(commit.statements[i].start_us + clock_shift_us);
    if ((commit.settings & kSettingDeferKeys) != 0 && !IsControl(commit.statements[i])) {
      permissions_.own = true;
      (void)db_.Exec("PRAGMA defer_foreign_keys=ON");
      permissions_.own = false;
    }
    Run(commit.statements[i], i, &result);
  }
  timed_out_ = watchdog_.Disarm() || timed_out_;
  if (timed_out_) {
    ++timeouts_;
  } else if (sqlite3_get_autocommit(db_.get()) == 0) {
    result.reason = result.reason.empty() ? "the transaction did not end" : result.reason;
  } else {
    if (frames_ == 0) {
      // A statement that failed and committed (OR FAIL) leaves the wal hook to the next one.
      (void)db_.Exec("SELECT 1");
    }
    ASSIGN_OR_RETURN(result.same, TakeFrames(expected));
    if (!result.same && result.reason.empty()) {
      result.reason = "the database differs";
    }
  }
  if (result.same) {
    MaybeCheckpoint();
  } else {
    Close();  // with its WAL: nothing has happened
  }
  return result;
}

Result<ReplayResult> SqlReplayer::ExecuteOrTryLater(const CommitStatements& commit,
                                                    const CommitRecord* expected) {
  ReplayResult result;
  if (commit.state != StatementsState::kRecorded) {
    result.reason =
        commit.state == StatementsState::kDisplaced ? "the application had taken the trace callback"
        : commit.state == StatementsState::kDropped ? "its statements were too large to ship"
                                                    : "it has no statements";
    return result;
  }
  for (const LoggedStatement& statement : commit.statements) {
    if ((statement.flags & (kStatementRedacted | kStatementExcluded)) != 0) {
      result.reason = (statement.flags & kStatementExcluded) != 0
                          ? "a statement of it was excluded"
                          : "a statement of it lacks its values";
      return result;
    }
  }
  vfs_.ForgetClockAsked();
  for (const int64_t shift : kClockShifts) {
    ASSIGN_OR_RETURN(result, Try(commit, expected, shift));
    if (result.same || !vfs_.clock_asked() || timed_out_) {
      break;
    }
  }
  return result;
}

Result<ReplayResult> SqlReplayer::Execute(const CommitStatements& commit,
                                          const CommitRecord& expected) {
  return ExecuteOrTryLater(commit, &expected);
}

Result<ReplayResult> SqlReplayer::ExecuteFreely(const CommitStatements& commit) {
  return ExecuteOrTryLater(commit, nullptr);
}

}  // namespace sqlite_s3
