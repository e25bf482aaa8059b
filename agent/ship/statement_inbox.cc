#include "agent/ship/statement_inbox.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/sqlite/sql_text.h"

namespace sqlite_s3 {
namespace {

// From the commit's visibility to its hook are a few microseconds of one thread, unless it has no
// core.
constexpr auto kPatience = std::chrono::milliseconds(250);
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

uint64_t StatementInbox::Expect() {
  std::lock_guard lock(mutex_);
  expected_.insert(++last_expected_);
  return last_expected_;
}

void StatementInbox::Settle(uint64_t expected) {
  std::lock_guard lock(mutex_);
  expected_.erase(expected);
  news_.notify_all();
}

void StatementInbox::Put(const CommitPlace& place, RecordedCommit commit) {
  std::lock_guard lock(mutex_);
  const uint64_t size = commit.size_bytes();
  auto [found, added] = batches_.try_emplace(place);
  if (!added) {
    return;  // two commits cannot end at one frame of one WAL: nobody knows whose it is
  }
  found->second = std::move(commit);
  order_.push_back(place);
  bytes_ += size;
  while (bytes_ > most_bytes_ && !order_.empty()) {
    auto oldest = batches_.find(order_.front());
    order_.pop_front();
    if (oldest == batches_.end() || oldest->second.state == StatementsState::kDropped) {
      continue;
    }
    bytes_ -= oldest->second.size_bytes();
    ++dropped_;
    if (oldest->second.size_bytes() > most_bytes_ / 2) {
      // One giant: what is left of it says that there were statements.
      oldest->second = RecordedCommit();
      oldest->second.state = StatementsState::kDropped;
      order_.push_back(oldest->first);
      bytes_ += oldest->second.size_bytes();
      break;
    }
    batches_.erase(oldest);
  }
  news_.notify_all();
}

std::vector<std::optional<RecordedCommit>> StatementInbox::Take(
    const std::vector<CommitPlace>& places) {
  std::vector<std::optional<RecordedCommit>> out(places.size());
  std::unique_lock lock(mutex_);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  const auto take = [&] {
    bool all = true;
    for (size_t i = 0; i < places.size(); ++i) {
      if (out[i] || places[i].frame == 0) {
        continue;
      }
      auto found = batches_.find(places[i]);
      if (found == batches_.end()) {
        all = false;
        continue;
      }
      bytes_ -= found->second.size_bytes();
      out[i] = std::move(found->second);
      batches_.erase(found);
    }
    return all;
  };
  bool all = take();
  while (!all && !expected_.empty() && *expected_.rbegin() > waited_in_vain_) {
    if (news_.wait_until(lock, deadline) == std::cv_status::timeout) {
      (void)take();
      waited_in_vain_ = last_expected_;
      break;
    }
    all = take();
  }
  while (!order_.empty() && batches_.count(order_.front()) == 0) {
    order_.pop_front();
  }
  return out;
}

uint64_t StatementInbox::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

CommitStatements DescribeStatements(RecordedCommit commit, StatementDetail detail,
                                    const std::string& exclude) {
  CommitStatements out;
  out.state = commit.state;
  if (out.state != StatementsState::kRecorded) {
    return out;
  }
  out.connection = commit.connection;
  out.settings = commit.settings;
  for (const RecordedStatement& statement : commit.statements) {
    if (MentionsFunction(statement.sql, "last_insert_rowid")) {
      out.last_insert_rowid = commit.last_insert_rowid;
    }
  }
  out.tag = std::move(commit.tag);
  out.statements.reserve(commit.statements.size());
  for (RecordedStatement& statement : commit.statements) {
    LoggedStatement& logged = out.statements.emplace_back();
    logged.start_us = statement.start_us;
    logged.changed_rows = statement.changed_rows;
    logged.flags = statement.control ? kStatementControl : 0;
    if (!statement.control && NamesOneOf(statement.sql, exclude)) {
      logged.flags |= kStatementExcluded | kStatementRedacted;
      logged.changed_rows = 0;
      continue;
    }
    if (!statement.control && IsUnrepeatable(statement.sql)) {
      logged.flags |= kStatementUnrepeatable;
    }
    if (detail == StatementDetail::kValues) {
      AddValues(statement, logged);
      logged.sql = std::move(statement.sql);
    } else {
      RedactedSql redacted = RedactSql(statement.sql);
      if (redacted.redacted || statement.unknown_values) {
        logged.flags |= kStatementRedacted;
      }
      logged.sql = std::move(redacted.sql);
    }
  }
  return out;
}

}  // namespace sqlite_s3
