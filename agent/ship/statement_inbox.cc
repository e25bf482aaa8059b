#include "agent/ship/statement_inbox.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "common/sqlite/expanded_sql.h"
#include "common/sqlite/sql_text.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kStatementOverhead = 200;

StatementValue ToValue(ExpandedValue value) {
  StatementValue out;
  using Type = ExpandedValue::Type;
  switch (value.type) {
    case Type::kNull:
      break;
    case Type::kInteger:
      out.type = ValueType::kInteger;
      out.integer = value.integer;
      break;
    case Type::kReal:
      out.type = ValueType::kReal;
      out.real = value.real;
      break;
    case Type::kText:
      out.type = ValueType::kText;
      out.bytes = std::move(value.bytes);
      break;
    case Type::kBlob:
      out.type = ValueType::kBlob;
      out.bytes = std::move(value.bytes);
      break;
  }
  return out;
}

void AddValues(RecordedStatement& statement, LoggedStatement& out) {
  if (statement.exact) {
    out.values = std::move(statement.values);
    return;
  }
  if (statement.unknown_values) {
    out.flags |= kStatementRedacted;
    return;
  }
  if (statement.expanded.empty()) {
    return;
  }
  auto values = ValuesOf(statement.sql, statement.expanded);
  if (!values) {
    out.flags |= kStatementRedacted;
    return;
  }
  for (ExpandedValue& value : *values) {
    // SQLite prints 15 digits; text is cut at NUL, which nobody can see from here.
    if (value.type == ExpandedValue::Type::kReal) {
      out.flags |= kStatementInexact;
    }
    out.values.push_back(ToValue(std::move(value)));
  }
}

}  // namespace

size_t RecordedCommit::size_bytes() const {
  size_t bytes = kStatementOverhead;
  for (const RecordedStatement& s : statements) {
    bytes += kStatementOverhead + s.sql.size() + s.expanded.size();
    for (const StatementValue& value : s.values) {
      bytes += sizeof(value) + value.bytes.size();
    }
  }
  return bytes;
}

std::shared_ptr<StatementInbox::Expectation> StatementInbox::Register() {
  auto expectation = std::make_shared<Expectation>();
  std::lock_guard lock(mutex_);
  std::erase_if(expectations_, [](const auto& e) { return e.expired(); });
  expectations_.push_back(expectation);
  return expectation;
}

// On the committing thread: no more than an append.
void StatementInbox::Put(const ToldPlace& place, RecordedCommit commit) {
  const uint64_t size = commit.size_bytes();
  if (arrived_bytes_.fetch_add(size) + size > most_bytes_) {
    // The worker is far behind, or ships nothing: what it is told of these is that they were.
    arrived_bytes_ -= size;
    ++dropped_;
    commit = RecordedCommit();
    commit.state = StatementsState::kDropped;
    if (arrived_bytes_ > 2 * most_bytes_) {
      return;
    }
    arrived_bytes_ += commit.size_bytes();
  }
  std::lock_guard lock(mutex_);
  arrivals_.emplace_back(place, std::move(commit));
}

void StatementInbox::Sort(std::vector<std::pair<ToldPlace, RecordedCommit>>&& arrived) {
  for (auto& [told, commit] : arrived) {
    const uint64_t size = commit.size_bytes();
    arrived_bytes_ -= size;
    // Two commits cannot end at one frame of one WAL: of two batches the first stays.
    if (batches_.try_emplace(told.place, Batch{std::move(commit), told.unless}).second) {
      order_.push_back(told.place);
      bytes_ += size;
    }
  }
  LetGo();
}

// Batches whose commits nobody asked for: they were merged, or became part of a resync.
void StatementInbox::LetGo() {
  while (!order_.empty()) {
    auto oldest = batches_.find(order_.front());
    if (oldest != batches_.end()) {
      if (bytes_ <= most_bytes_) {
        return;
      }
      bytes_ -= oldest->second.commit.size_bytes();
      batches_.erase(oldest);
    }
    order_.pop_front();
  }
}

bool StatementInbox::Expected() {
  bool expected = false;
  std::lock_guard lock(mutex_);
  for (const auto& weak : expectations_) {
    if (auto e = weak.lock()) {
      const bool begun = e->begun_.load(std::memory_order_acquire);
      e->waited_in_vain_ = e->waited_in_vain_ && begun;
      expected = expected || (begun && !e->waited_in_vain_);
    }
  }
  return expected;
}

namespace {

// Whether a batch told for this place cannot be of the older WAL that it names.
bool LiesThere(const std::optional<CommitPlace>& unless, const CapturedPlace& captured) {
  if (!unless) {
    return true;
  }
  const auto& before = captured.wal_before;
  if (!before) {
    return false;
  }
  if (before->salt1 == unless->salt1 && before->salt2 == unless->salt2) {
    return before->frame < unless->frame;
  }
  // No commit of that WAL was captured, and none was missed: it had none, if it was the one before.
  return unless->salt1 + 1 == captured.place.salt1;
}

}  // namespace

std::vector<std::optional<RecordedCommit>> StatementInbox::Take(
    const std::vector<CapturedPlace>& places) {
  std::vector<std::optional<RecordedCommit>> out(places.size());
  std::vector<bool> settled(places.size());
  const auto deadline = std::chrono::steady_clock::now() + patience_;
  while (true) {
    // Asked first: what was expected then has arrived when it is not expected any more.
    const bool expected = Expected();
    std::vector<std::pair<ToldPlace, RecordedCommit>> arrived;
    {
      std::lock_guard lock(mutex_);
      arrived.swap(arrivals_);
    }
    Sort(std::move(arrived));
    bool all = true;
    for (size_t i = 0; i < places.size(); ++i) {
      if (settled[i] || places[i].place.frame == 0) {
        continue;
      }
      auto found = batches_.find(places[i].place);
      if (found == batches_.end()) {
        all = false;
        continue;
      }
      settled[i] = true;
      bytes_ -= found->second.commit.size_bytes();
      if (LiesThere(found->second.unless, places[i])) {
        out[i] = std::move(found->second.commit);
      }
      batches_.erase(found);
    }
    if (all || !expected) {
      break;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      std::lock_guard lock(mutex_);
      for (const auto& weak : expectations_) {
        if (auto e = weak.lock()) {
          e->waited_in_vain_ = e->begun_.load(std::memory_order_acquire);
        }
      }
      break;
    }
    const timespec pause{0, 100'000};
    nanosleep(&pause, nullptr);
  }
  LetGo();
  return out;
}

const StatementDescriber::About& StatementDescriber::Look(const RecordedStatement& statement) {
  constexpr size_t kMostKnown = 2000;
  constexpr size_t kLongest = 4096;
  if (known_.size() >= kMostKnown || statement.sql.size() > kLongest) {
    known_.clear();
  }
  auto [found, added] = known_.try_emplace(statement.sql);
  About& about = found->second;
  if (!added) {
    return about;
  }
  if (statement.control) {
    about.flags = kStatementControl;
  } else {
    if (NamesOneOf(statement.sql, exclude_)) {
      about.flags = kStatementExcluded | kStatementRedacted;
    } else if (IsUnrepeatable(statement.sql)) {
      about.flags = kStatementUnrepeatable;
    }
    about.last_insert_rowid = MentionsFunction(statement.sql, "last_insert_rowid");
  }
  if (detail_ == StatementDetail::kText) {
    RedactedSql redacted = RedactSql(statement.sql);
    if (redacted.redacted) {
      about.flags |= kStatementRedacted;
    }
    about.redacted = std::move(redacted.sql);
  }
  return about;
}

CommitStatements StatementDescriber::Describe(RecordedCommit commit) {
  CommitStatements out;
  out.state = commit.state;
  if (out.state != StatementsState::kRecorded) {
    return out;
  }
  out.connection = commit.connection;
  out.settings = commit.settings;
  out.tag = std::move(commit.tag);
  out.statements.reserve(commit.statements.size());
  for (RecordedStatement& statement : commit.statements) {
    const About& about = Look(statement);
    LoggedStatement& logged = out.statements.emplace_back();
    logged.start_us = statement.start_us;
    logged.flags = about.flags;
    if ((about.flags & kStatementExcluded) != 0) {
      continue;
    }
    logged.changed_rows = statement.changed_rows;
    if (about.last_insert_rowid) {
      out.last_insert_rowid = commit.last_insert_rowid;
    }
    if (detail_ == StatementDetail::kValues) {
      AddValues(statement, logged);
      logged.sql = std::move(statement.sql);
    } else {
      if (statement.unknown_values) {
        logged.flags |= kStatementRedacted;
      }
      logged.sql = about.redacted;
    }
  }
  return out;
}

}  // namespace sqlite_s3
