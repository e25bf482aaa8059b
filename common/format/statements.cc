#include "common/format/statements.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_map>

#include "common/format/segment.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMinStatementBytes = 5;  // flags, text, time, rows, number of values
constexpr size_t kMinChunkedBytes = 11;   // length and the smallest zstd frame

class LogWriter {
 public:
  void Add(const CommitStatements& commit) {
    ByteWriter out(commits_);
    const bool recorded = commit.state == StatementsState::kRecorded;
    const bool rowid = recorded && commit.last_insert_rowid.has_value();
    out.U8(static_cast<uint8_t>(static_cast<uint8_t>(commit.state) | (rowid ? kHasRowid : 0)));
    if (!recorded) {
      return;
    }
    out.Varint(commit.connection);
    out.Varint(commit.settings);
    if (rowid) {
      out.SignedVarint(*commit.last_insert_rowid);
    }
    out.Varint(IndexOf(commit.tag));
    out.Varint(commit.statements.size());
    for (const LoggedStatement& statement : commit.statements) {
      out.U8(statement.flags);
      out.Varint(IndexOf(statement.sql));
      out.SignedVarint(statement.start_us - last_us_);
      last_us_ = statement.start_us;
      out.Varint(statement.changed_rows);
      out.Varint(statement.values.size());
      for (const StatementValue& value : statement.values) {
        WriteValue(value, out);
      }
    }
  }

  // Number of texts, the texts, the commits.
  Bytes Finish() const {
    Bytes bytes;
    ByteWriter out(bytes);
    out.Varint(count_);
    out.Raw(texts_);
    out.Raw(commits_);
    return bytes;
  }
  size_t size_bytes() const { return texts_.size() + commits_.size(); }

  static constexpr uint8_t kHasRowid = 0x80;

 private:
  // 0 is the empty text.
  uint64_t IndexOf(const std::string& text) {
    if (text.empty()) {
      return 0;
    }
    auto [found, added] = index_.try_emplace(text, count_ + 1);
    if (added) {
      ++count_;
      ByteWriter out(texts_);
      out.Varint(text.size());
      out.Raw(AsBytes(text));
    }
    return found->second;
  }

  static void WriteValue(const StatementValue& value, ByteWriter& out) {
    out.U8(static_cast<uint8_t>(value.type));
    switch (value.type) {
      case ValueType::kInteger:
        out.SignedVarint(value.integer);
        break;
      case ValueType::kReal:
        out.U64(std::bit_cast<uint64_t>(value.real));
        break;
      case ValueType::kText:
      case ValueType::kBlob:
        out.Varint(value.bytes.size());
        out.Raw(AsBytes(value.bytes));
        break;
      case ValueType::kNull:
        break;
    }
  }

  std::unordered_map<std::string_view, uint64_t> index_;  // views of the log that is written
  uint64_t count_ = 0;
  int64_t last_us_ = 0;
  Bytes texts_, commits_;
};

class LogReader {
 public:
  explicit LogReader(ByteSpan raw) : in_(raw) {}

  Status ReadTexts() {
    const uint64_t count = in_.Varint();
    if (!in_.ok() || count > in_.remaining()) {
      return CorruptionError(fmt::format("impossible number of texts {}", count));
    }
    texts_.reserve(static_cast<size_t>(count) + 1);
    texts_.emplace_back();
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t size = in_.Varint();
      if (!in_.ok() || size == 0 || size > in_.remaining()) {
        return CorruptionError("a text is not whole");
      }
      texts_.push_back(AsText(in_.Raw(static_cast<size_t>(size))));
    }
    return Status::Ok();
  }

  Status ReadCommit(CommitStatements& commit) {
    const uint8_t head = in_.U8();
    const uint8_t state = head & static_cast<uint8_t>(~LogWriter::kHasRowid);
    commit.state = static_cast<StatementsState>(state);
    const bool recorded = commit.state == StatementsState::kRecorded;
    const bool rowid = (head & LogWriter::kHasRowid) != 0;
    if (!in_.ok() || state > static_cast<uint8_t>(StatementsState::kDropped) ||
        (rowid && !recorded)) {
      return CorruptionError("a commit's statements are malformed");
    }
    if (!recorded) {
      return Status::Ok();
    }
    commit.connection = in_.Varint();
    const uint64_t settings = in_.Varint();
    if (rowid) {
      commit.last_insert_rowid = in_.SignedVarint();
    }
    const uint64_t tag = in_.Varint();
    const uint64_t count = in_.Varint();
    if (!in_.ok() || (settings & ~uint64_t{kKnownSettings}) != 0 || tag >= texts_.size() ||
        texts_[tag].size() > kMaxTagBytes || count > in_.remaining() / kMinStatementBytes) {
      return CorruptionError("a commit's statements are malformed");
    }
    commit.settings = static_cast<uint32_t>(settings);
    RETURN_IF_ERROR(Copy(tag, commit.tag));
    commit.statements.resize(static_cast<size_t>(count));
    for (LoggedStatement& statement : commit.statements) {
      RETURN_IF_ERROR(ReadStatement(statement));
    }
    return Status::Ok();
  }

  bool at_end() const { return in_.ok() && in_.remaining() == 0; }

 private:
  // A text may be named very often: what is made of the section is bounded, too.
  Status Copy(uint64_t index, std::string& out) {
    made_bytes_ += texts_[index].size();
    if (made_bytes_ > kMaxMadeBytes) {
      return CorruptionError("its statements are too long together");
    }
    out = texts_[index];
    return Status::Ok();
  }

  Status ReadStatement(LoggedStatement& statement) {
    statement.flags = in_.U8();
    const uint64_t text = in_.Varint();
    // Wraps instead of overflowing: a time is only shown, or given to the statement as its clock.
    time_us_ += static_cast<uint64_t>(in_.SignedVarint());
    statement.start_us = static_cast<int64_t>(time_us_);
    statement.changed_rows = in_.Varint();
    const uint64_t values = in_.Varint();
    if (!in_.ok() || (statement.flags & ~kKnownStatementFlags) != 0 || text >= texts_.size() ||
        values > in_.remaining()) {
      return CorruptionError("a statement is malformed");
    }
    RETURN_IF_ERROR(Copy(text, statement.sql));
    statement.values.resize(static_cast<size_t>(values));
    made_bytes_ += statement.values.size() * sizeof(StatementValue);
    for (StatementValue& value : statement.values) {
      RETURN_IF_ERROR(ReadValue(value));
    }
    return Status::Ok();
  }

  Status ReadValue(StatementValue& value) {
    const uint8_t type = in_.U8();
    value.type = static_cast<ValueType>(type);
    switch (value.type) {
      case ValueType::kInteger:
        value.integer = in_.SignedVarint();
        break;
      case ValueType::kReal:
        value.real = std::bit_cast<double>(in_.U64());
        break;
      case ValueType::kText:
      case ValueType::kBlob: {
        const uint64_t size = in_.Varint();
        if (!in_.ok() || size > in_.remaining()) {
          return CorruptionError("a value is not whole");
        }
        value.bytes = AsText(in_.Raw(static_cast<size_t>(size)));
        break;
      }
      case ValueType::kNull:
        break;
      default:
        return CorruptionError(fmt::format("a value of unknown type {}", type));
    }
    return in_.ok() ? Status::Ok() : CorruptionError("a value is not whole");
  }

  static constexpr uint64_t kMaxMadeBytes = 8 * kMaxStatementBytes;
  ByteReader in_;
  std::vector<std::string_view> texts_;
  uint64_t made_bytes_ = 0;
  uint64_t time_us_ = 0;
};

Result<Bytes> Decompress(ByteReader& in, uint64_t raw_size) {
  // Memory is taken for what the bytes that are there can hold, chunk by chunk.
  const uint64_t chunks = (raw_size + kChunkBytes - 1) / kChunkBytes;
  if (raw_size == 0 || raw_size > kMaxStatementBytes ||
      chunks > in.remaining() / kMinChunkedBytes) {
    return CorruptionError(fmt::format("impossible size {} of statements", raw_size));
  }
  Bytes raw;
  ChunkDecoder decoder;
  for (uint64_t done = 0; done < raw_size; done = raw.size()) {
    raw.resize(static_cast<size_t>(std::min<uint64_t>(raw_size, done + kChunkBytes)));
    RETURN_IF_ERROR(decoder.Next(in, {}, std::span<uint8_t>(raw).subspan(done)));
  }
  if (in.remaining() != 0) {
    return CorruptionError("bytes after the statements");
  }
  return raw;
}

}  // namespace

bool StatementValue::operator==(const StatementValue& other) const {
  return type == other.type && integer == other.integer && bytes == other.bytes &&
         std::bit_cast<uint64_t>(real) == std::bit_cast<uint64_t>(other.real);
}

Result<Bytes> EncodeStatements(const StatementLog& log, int zstd_level) {
  LogWriter writer;
  for (const CommitStatements& commit : log.commits) {
    if (commit.tag.size() > kMaxTagBytes || (commit.settings & ~kKnownSettings) != 0) {
      return InvalidArgumentError("statements with an impossible tag or setting");
    }
    writer.Add(commit);
    if (writer.size_bytes() > kMaxStatementBytes - 10) {
      return ResourceExhaustedError(
          fmt::format("statements of more than {} bytes in a segment", kMaxStatementBytes));
    }
  }
  const Bytes raw = writer.Finish();
  Bytes section;
  ByteWriter out(section);
  out.U8(kStatementsVersion);
  out.U8(static_cast<uint8_t>(log.detail));
  out.U64(log.sqlite_build);
  out.Varint(raw.size());
  ChunkEncoder encoder(zstd_level);
  for (size_t at = 0; at < raw.size(); at += kChunkBytes) {
    const size_t size = std::min<size_t>(kChunkBytes, raw.size() - at);
    RETURN_IF_ERROR(encoder.Append(ByteSpan(raw).subspan(at, size), {}, section));
  }
  return section;
}

Result<StatementLog> ParseStatements(ByteSpan section, uint32_t commit_count) {
  ByteReader in(section);
  StatementLog log;
  const uint8_t version = in.U8();
  if (!in.ok() || version == 0) {
    return CorruptionError("statements: malformed");
  }
  if (version > kStatementsVersion) {
    return UnimplementedError(
        fmt::format("statements of format version {}, this program reads up to {}, hint: use a "
                    "newer version of it",
                    version, kStatementsVersion));
  }
  const uint8_t detail = in.U8();
  log.detail = static_cast<StatementDetail>(detail);
  log.sqlite_build = in.U64();
  const uint64_t raw_size = in.Varint();
  if (!in.ok() ||
      (log.detail != StatementDetail::kText && log.detail != StatementDetail::kValues)) {
    return CorruptionError("statements: malformed");
  }
  auto raw = Decompress(in, raw_size);
  if (!raw.ok()) {
    return raw.status().WithContext("statements");
  }
  LogReader reader(*raw);
  Status status = reader.ReadTexts();
  if (status.ok() && commit_count > raw->size()) {
    status = CorruptionError("fewer statements than commits");
  }
  if (status.ok()) {
    log.commits.resize(commit_count);
    for (CommitStatements& commit : log.commits) {
      status = reader.ReadCommit(commit);
      if (!status.ok()) {
        break;
      }
    }
  }
  if (status.ok() && !reader.at_end()) {
    status = CorruptionError("bytes after the last commit");
  }
  if (!status.ok()) {
    return status.WithContext("statements");
  }
  return log;
}

}  // namespace sqlite_s3
