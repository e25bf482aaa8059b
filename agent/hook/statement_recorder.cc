#include "agent/hook/statement_recorder.h"

#include <atomic>
#include <utility>

#include "agent/hook/host.h"
#include "agent/hook/traced_text.h"
#include "common/base/clock.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {
namespace {

// A transaction with more to tell is shipped without its statements.
constexpr size_t kMostBytes = 8 << 20;
constexpr size_t kMostStatements = 50'000;

std::atomic<uint64_t> last_number{0};
thread_local const ExactValues* exact_values = nullptr;

StatementValue CopyValue(const sqlite_s3_value& value) {
  StatementValue copy;
  switch (value.type) {
    case SQLITE_INTEGER:
      copy.type = ValueType::kInteger;
      copy.integer = value.integer;
      break;
    case SQLITE_FLOAT:
      copy.type = ValueType::kReal;
      copy.real = value.real;
      break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
      copy.type = value.type == SQLITE_TEXT ? ValueType::kText : ValueType::kBlob;
      if (value.bytes != nullptr) {
        copy.bytes.assign(static_cast<const char*>(value.bytes), value.size);
      }
      break;
    default:
      break;
  }
  return copy;
}

}  // namespace

void StatementRecorder::SetExact(const ExactValues* exact) { exact_values = exact; }

StatementRecorder::StatementRecorder(sqlite3* db, bool values)
    : db_(db), values_(values), number_(++last_number), settings_(db) {}

void StatementRecorder::Settle() {
  if (expecting_) {
    expectation_->End();
    expecting_ = false;
  }
}

void StatementRecorder::Expect(StatementInbox& inbox) {
  if (expecting_) {
    return;
  }
  if (registered_with_ != &inbox) {
    expectation_ = inbox.Register();
    registered_with_ = &inbox;
  }
  expectation_->Begin();
  expecting_ = true;
}

void StatementRecorder::Clear() {
  kept_ = RecordedCommit();
  kept_bytes_ = 0;
  writes_ = 0;
  savepoints_.clear();
  last_open_ = false;
  last_ = nullptr;
  Settle();
}

StatementRecorder::Generation StatementRecorder::Look() {
  if (!view_) {
    Result<WalIndexView> view = WalIndexView::Attach(db_);
    if (!view.ok()) {
      return {};
    }
    view_ = *view;
  }
  return {view_->PeekSalt1(), view_->PeekSalt2(), view_->PeekMaxFrame(), true};
}

// The commit lies in the WAL that was there before it, or in one that was begun since. In the older
// one it lies behind the frames that were there. A WAL that is begun anew has the next salt1
// (sqlite.org/walformat.html, section 4), one that is begun for the first time any.
std::optional<ToldPlace> StatementRecorder::PlaceOf(uint32_t frames) {
  const Generation seen = Look();
  if (!seen.known || !before_.known) {
    return std::nullopt;
  }
  const CommitPlace older{before_.salt1, before_.salt2, frames};
  if (seen.salt1 == older.salt1 && seen.salt2 == older.salt2) {
    return ToldPlace{older, {}};
  }
  const std::optional<WalIndexHeader> now = view_->ReadHeader();
  if (!now) {
    return std::nullopt;
  }
  const CommitPlace newer{now->salt1, now->salt2, frames};
  const bool next = newer.salt1 == older.salt1 + 1;
  const bool first = before_.salt1 == 0 && before_.salt2 == 0 && before_.max_frame == 0;
  if (frames <= before_.max_frame) {
    return next ? std::optional(ToldPlace{newer, {}}) : std::nullopt;
  }
  if (next && frames > now->max_frame) {
    return ToldPlace{older, {}};
  }
  return next || first ? std::optional(ToldPlace{newer, older}) : std::nullopt;
}

bool StatementRecorder::Wanted(sqlite3_stmt* statement, const char* text,
                               SqlControlStatement* control) {
  const bool reads = sqlite3_stmt_readonly(statement) != 0;
  if (!reads && sqlite3_stmt_isexplain(statement) != 0) {
    return false;
  }
  if (!MayMatter(text)) {
    return !reads;  // the usual case
  }
  *control = ParseControl(text);  // BEGIN IMMEDIATE is no reader
  if (control->kind != SqlControl::kNone) {
    return true;
  }
  const std::string pragma = PragmaName(text);
  if (!pragma.empty()) {
    settings_.OnPragma(pragma, text);
    view_.reset();  // journal_mode and locking_mode end the mapping
    return !reads && IsLoggedPragma(pragma);
  }
  return !reads || MakesOrDropsTrigger(text);
}

// The program of a foreign key's action is traced with the text of the whole statement. A statement
// that begins for the first time has not run, and one that begins again has been stepped since; so
// has one that met a changed schema and was prepared again, but only for the few steps until then.
bool StatementRecorder::IsForeignKeyAction(sqlite3_stmt* statement) const {
  constexpr int kStepsToSchemaCheck = 4;
  if (statement != last_ || sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_RUN, 0) == 0) {
    return false;
  }
  const int steps = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 0) - last_steps_;
  const int again =
      sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_REPREPARE, 0) - last_reprepares_;
  return steps <= kStepsToSchemaCheck * again;
}

void StatementRecorder::FinishLast() {
  if (last_open_) {
    last_open_ = false;
    kept_.statements.back().changed_rows =
        static_cast<uint32_t>(sqlite3_total_changes(db_)) - static_cast<uint32_t>(total_changes_);
  }
}

// The wal hook is called at the end of a step that returns SQLITE_DONE (SQLite, sqlite3Step). A
// commit by a statement that failed (OR FAIL), or was reset at its first row (RETURNING), waits for
// the next such step, and the next commit of the connection would take its place.
void StatementRecorder::CallLateHook() {
  if (!kept_.statements.empty() && kept_.statements.back().changed_rows > 0) {
    const bool seen = seen_;
    sqlite3_exec(db_, "SELECT 1", nullptr, nullptr, nullptr);
    seen_ = seen;  // of the statement that begins
  }
}

void StatementRecorder::BeginIfFresh() {
  const bool writing = InWriteTransaction(db_);
  const bool autocommit = sqlite3_get_autocommit(db_) != 0;
  if (autocommit && !writing) {
    CallLateHook();
    Clear();
    before_ = Look();
    kept_.last_insert_rowid = sqlite3_last_insert_rowid(db_);
  } else if (!writing && writes_ > 0) {
    // They got no lock; the application tries them again.
    std::erase_if(kept_.statements, [](const RecordedStatement& s) { return !s.control; });
    writes_ = 0;
    for (Savepoint& savepoint : savepoints_) {
      savepoint.kept = std::min(savepoint.kept, kept_.statements.size());
    }
    before_ = Look();
  }
}

void StatementRecorder::Keep(sqlite3_stmt* statement, const char* text, bool is_control) {
  if (kept_.state == StatementsState::kDropped) {
    return;
  }
  RecordedStatement& kept = kept_.statements.emplace_back();
  kept.sql = text;
  kept.control = is_control;
  kept.start_us = Clock::Real().WallMicros();
  kept_bytes_ += sizeof(kept) + kept.sql.size();
  if (!is_control) {
    ++writes_;
    if (sqlite3_bind_parameter_count(statement) > 0) {
      const bool exact = values_ && exact_values != nullptr && exact_values->statement == statement;
      char* const expanded = values_ && !exact ? sqlite3_expanded_sql(statement) : nullptr;
      if (exact) {
        kept.exact = true;
        for (const sqlite_s3_value& value : exact_values->values) {
          kept.values.push_back(CopyValue(value));
          kept_bytes_ += sizeof(StatementValue) + kept.values.back().bytes.size();
        }
      } else if (expanded != nullptr) {
        kept.expanded = expanded;
        sqlite3_free(expanded);
        kept_bytes_ += kept.expanded.size();
      } else {
        kept.unknown_values = true;  // not wanted, longer than SQLite's limit, or no memory
      }
    }
  }
  total_changes_ = sqlite3_total_changes(db_);
  last_open_ = !is_control;
  last_ = statement;
  last_steps_ = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 0);
  last_reprepares_ = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_REPREPARE, 0);
  if (kept_bytes_ > kMostBytes || kept_.statements.size() > kMostStatements) {
    kept_.statements.clear();
    kept_.statements.shrink_to_fit();
    kept_.state = StatementsState::kDropped;
    last_open_ = false;
  }
}

void StatementRecorder::OnStatement(StatementInbox& inbox, sqlite3_stmt* statement,
                                    const char* text) {
  SqlControlStatement control;
  if (IsInternal(statement, text) || IsForeignKeyAction(statement)) {
    return;
  }
  const bool wanted = Wanted(statement, text, &control);
  // Not what only reads: our own questions are traced, too.
  seen_ = seen_ || wanted || sqlite3_stmt_readonly(statement) == 0;
  if (!wanted) {
    return;
  }
  FinishLast();
  BeginIfFresh();
  switch (control.kind) {
    case SqlControl::kNone: {
      const uint32_t settings = settings_.Now();
      const bool first = writes_ == 0;
      kept_.settings = first ? settings
                             : kept_.settings | (settings != (kept_.settings & ~kSettingMixed)
                                                     ? static_cast<uint32_t>(kSettingMixed)
                                                     : 0);
      Keep(statement, text, false);
      break;
    }
    case SqlControl::kBegin:
    case SqlControl::kCommit:
      Keep(statement, text, true);
      break;
    case SqlControl::kRollback:
      Clear();
      return;
    case SqlControl::kSavepoint:
      Keep(statement, text, true);
      savepoints_.push_back({control.savepoint, kept_.statements.size()});
      return;
    case SqlControl::kRelease:
    case SqlControl::kRollbackTo: {
      const bool release = control.kind == SqlControl::kRelease;
      size_t i = savepoints_.size();
      while (i > 0 && !EqualsIgnoringCase(savepoints_[i - 1].name, control.savepoint)) {
        --i;
      }
      if (i == 0) {
        return;  // there is none: an error for SQLite, too
      }
      if (release) {
        Keep(statement, text, true);
        savepoints_.resize(i - 1);
      } else {
        kept_.statements.resize(std::min(kept_.statements.size(), savepoints_[i - 1].kept));
        writes_ = 0;
        for (const RecordedStatement& s : kept_.statements) {
          writes_ += s.control ? 0 : 1;
        }
        last_open_ = false;
        savepoints_.resize(i);
        if (writes_ == 0) {
          kept_.last_insert_rowid = sqlite3_last_insert_rowid(db_);  // it is not taken back
        }
        return;
      }
      break;
    }
  }
  // Does it perhaps commit?
  const bool in_transaction = sqlite3_get_autocommit(db_) == 0;
  const bool may_commit =
      in_transaction ? control.kind == SqlControl::kCommit || control.kind == SqlControl::kRelease
                     : control.kind == SqlControl::kNone;
  if (may_commit) {
    Expect(inbox);
  }
}

bool StatementRecorder::OnCommit(StatementInbox& inbox, uint32_t frames) {
  const bool seen = std::exchange(seen_, false);
  FinishLast();
  RecordedCommit commit = std::exchange(kept_, RecordedCommit());
  if (!seen) {
    view_.reset();  // nor was a PRAGMA
    before_ = Look();
    commit = RecordedCommit();
    commit.state = StatementsState::kDisplaced;
  }
  if (commit.state != StatementsState::kRecorded || !commit.statements.empty()) {
    if (const std::optional<ToldPlace> place = PlaceOf(frames)) {
      commit.connection = number_;
      commit.tag = tag_;
      inbox.Put(*place, std::move(commit));
    }
  }
  Clear();
  return seen;
}

void StatementRecorder::OnFailure(sqlite3_stmt* statement) {
  if (last_ == statement && last_open_) {
    FinishLast();
    // OR FAIL keeps the rows before the one that failed: then it was not without effect.
    if (kept_.statements.back().changed_rows == 0) {
      kept_.statements.pop_back();
      --writes_;
    }
  }
}

}  // namespace sqlite_s3
