#include "server/storage/body.h"

#include <algorithm>

#include "server/storage/body_impl.h"

namespace sqlite_s3::server {

StorageStatus CopyBody(BodyReader& from, BodyWriter& to) {
  while (true) {
    ASSIGN_OR_RETURN(ByteSpan bytes, from.Next());
    if (bytes.empty()) {
      return {};
    }
    RETURN_IF_STORAGE_ERROR(to.Append(bytes));
  }
}

// --- writing ---

BodyWriterImpl::~BodyWriterImpl() {
  if (pinned_) {
    bucket_->pins().Unpin(id_);
    if (!published_) {
      bucket_->SweepLater();
    }
  }
}

void BodyWriterImpl::TakeId() {
  if (id_ == 0) {
    id_ = bucket_->NewContentId();
  }
}

StorageStatus BodyWriterImpl::Append(ByteSpan bytes) {
  if (!usable()) {
    return {Reason::kInternal, "this body cannot be written to any more"};
  }
  if (bytes.size() > kMaxPutBytes - size_bytes()) {
    failed_ = true;
    return {Reason::kEntityTooLarge, "more than " + std::to_string(kMaxPutBytes) + " bytes"};
  }
  while (!bytes.empty()) {
    size_t taken = std::min(bytes.size(), kChunkBytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (buffer_.size() == kChunkBytes) {
      RETURN_IF_STORAGE_ERROR(Flush());
    }
  }
  return {};
}

namespace {

Status InsertChunk(Session& session, int64_t content, uint64_t offset, ByteSpan bytes) {
  return session.Use("INSERT INTO chunk VALUES (?, ?, ?)")
      .Bind(1, content)
      .Bind(2, static_cast<int64_t>(offset))
      .BindBlob(3, bytes)
      .Run();
}

}  // namespace

StorageStatus BodyWriterImpl::Flush() {
  TakeId();
  bool first = stored_ == 0;
  if (first) {
    // Before the row that the sweep looks for.
    pinned_ = bucket_->pins().Pin(id_);
  }
  StorageStatus status = bucket_->Write(buffer_.size(), [&](Session& session) -> StorageStatus {
    if (first) {
      RETURN_IF_STORAGE_ERROR(
          session.Use("INSERT INTO unreferenced VALUES (?)").Bind(1, id_).Run());
    }
    return InsertChunk(session, id_, stored_, buffer_);
  });
  if (!status.ok()) {
    failed_ = true;
    return status;
  }
  stored_ += buffer_.size();
  buffer_.clear();
  return {};
}

Status InsertContent(Session& session, int64_t id, ByteSpan bytes) {
  return session.Use("INSERT INTO content VALUES (?, ?, 0, ?)")
      .Bind(1, id)
      .Bind(2, static_cast<int64_t>(bytes.size()))
      .BindBlob(3, bytes)
      .Run();
}

Result<int64_t> BodyWriterImpl::Store(Session& session) const {
  if (size_bytes() == 0) {
    return int64_t{0};
  }
  if (stored_ == 0 && buffer_.size() <= kInlineBytes) {
    RETURN_IF_ERROR(InsertContent(session, id_, buffer_));
    return id_;
  }
  if (!buffer_.empty()) {
    RETURN_IF_ERROR(InsertChunk(session, id_, stored_, buffer_));
  }
  RETURN_IF_ERROR(session.Use("INSERT INTO content VALUES (?, ?, 0, NULL)")
                      .Bind(1, id_)
                      .Bind(2, static_cast<int64_t>(size_bytes()))
                      .Run());
  RETURN_IF_ERROR(session.Use("DELETE FROM unreferenced WHERE content = ?").Bind(1, id_).Run());
  return id_;
}

// --- reading ---

namespace {

// All in memory: a small body, or a value of s3ite's.
class MemoryReader final : public BodyReader {
 public:
  explicit MemoryReader(Bytes bytes) : bytes_(std::move(bytes)), end_(bytes_.size()) {}
  uint64_t size_bytes() const override { return bytes_.size(); }
  void SetRange(uint64_t offset, uint64_t length) override {
    at_ = std::min<uint64_t>(offset, bytes_.size());
    end_ = at_ + std::min<uint64_t>(length, bytes_.size() - at_);
  }
  StorageResult<ByteSpan> Next() override {
    ByteSpan piece = ByteSpan(bytes_).subspan(at_, std::min<uint64_t>(end_ - at_, kChunkBytes));
    at_ += piece.size();
    return piece;
  }
  StorageResult<size_t> Read(std::span<uint8_t> out) override {
    size_t n = std::min<uint64_t>(end_ - at_, out.size());
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(at_), n, out.begin());
    at_ += n;
    return n;
  }

 private:
  Bytes bytes_;
  uint64_t at_ = 0;
  uint64_t end_;
};

struct Leaf {
  int64_t content;
  uint64_t begin;  // in the object
  uint64_t size;
  bool is_inline;
};

class ChunkReader final : public BodyReader {
 public:
  // Takes over a pin on `content`.
  ChunkReader(std::shared_ptr<BucketImpl> bucket, int64_t content, std::vector<Leaf> leaves,
              uint64_t size)
      : bucket_(std::move(bucket)),
        content_(content),
        leaves_(std::move(leaves)),
        size_(size),
        end_(size) {}
  ~ChunkReader() override {
    bucket_->pins().Unpin(content_);
    bucket_->SweepLater();
  }
  uint64_t size_bytes() const override { return size_; }
  void SetRange(uint64_t offset, uint64_t length) override {
    at_ = std::min(offset, size_);
    end_ = at_ + std::min(length, size_ - at_);
  }
  StorageResult<ByteSpan> Next() override;
  StorageResult<size_t> Read(std::span<uint8_t> out) override;

 private:
  StorageResult<size_t> ReadPiece(Session& session, std::span<uint8_t> out);
  std::shared_ptr<BucketImpl> bucket_;
  const int64_t content_;
  const std::vector<Leaf> leaves_;
  const uint64_t size_;
  Bytes piece_;
  uint64_t at_ = 0;
  uint64_t end_;
};

StorageResult<ByteSpan> ChunkReader::Next() {
  piece_.resize(std::min<uint64_t>(end_ - at_, kChunkBytes));
  ASSIGN_OR_RETURN(size_t n, Read(piece_));
  return ByteSpan(piece_).first(n);
}

StorageResult<size_t> ChunkReader::Read(std::span<uint8_t> out) {
  out = out.first(std::min<uint64_t>(out.size(), end_ - at_));
  size_t done = 0;
  if (!out.empty()) {
    ASSIGN_OR_RETURN(auto session, bucket_->Reader());
    while (done < out.size()) {
      ASSIGN_OR_RETURN(size_t n, ReadPiece(*session, out.subspan(done)));
      done += n;
    }
  }
  return done;
}

// The bytes at at_, at most to the end of their row, straight from the pages: a column's value
// would be put together in memory of its own first.
StorageResult<size_t> ChunkReader::ReadPiece(Session& session, std::span<uint8_t> out) {
  auto after = std::upper_bound(leaves_.begin(), leaves_.end(), at_,
                                [](uint64_t at, const Leaf& leaf) { return at < leaf.begin; });
  const Leaf& leaf = *std::prev(after);  // the first begins at 0
  uint64_t in_leaf = at_ - leaf.begin;
  SqlQuery query = leaf.is_inline ? session.Use("SELECT id, 0 FROM content WHERE id = ?1")
                                  : session.Use(
                                        "SELECT rowid, offset FROM chunk WHERE content = ?1 AND "
                                        "offset <= ?2 ORDER BY offset DESC LIMIT 1");
  query.Bind(1, leaf.content);
  if (!leaf.is_inline) {
    query.Bind(2, static_cast<int64_t>(in_leaf));
  }
  StorageStatus missing(Reason::kCorrupt, "content " + std::to_string(leaf.content) +
                                              " has no bytes at " + std::to_string(in_leaf));
  // Until the query is dropped the transaction is one: the row stays the one that it found.
  ASSIGN_OR_RETURN(bool found, query.Step());
  if (!found) {
    return missing;
  }
  sqlite3* db = session.connection().get();
  sqlite3_blob* opened = nullptr;
  int rc = sqlite3_blob_open(db, "main", leaf.is_inline ? "content" : "chunk", "data", query.Int(0),
                             0, &opened);
  std::unique_ptr<sqlite3_blob, int (*)(sqlite3_blob*)> blob(opened, &sqlite3_blob_close);
  RETURN_IF_STORAGE_ERROR(SqliteStatus(rc, "cannot read a body", db));
  auto size = static_cast<uint64_t>(sqlite3_blob_bytes(opened));
  uint64_t skip = in_leaf - static_cast<uint64_t>(query.Int(1));
  if (skip >= size) {
    return missing;
  }
  size_t take = std::min({size - skip, leaf.size - in_leaf, uint64_t{out.size()}});
  rc = sqlite3_blob_read(opened, out.data(), static_cast<int>(take), static_cast<int>(skip));
  RETURN_IF_STORAGE_ERROR(SqliteStatus(rc, "cannot read a body", db));
  at_ += take;
  return take;
}

StorageResult<std::vector<Leaf>> ReadLeaves(Session& session, const ObjectRow& row, bool parts) {
  std::vector<Leaf> leaves;
  if (!parts) {
    leaves.push_back({row.content, 0, row.info.size_bytes, false});
    return leaves;
  }
  SqlQuery query = session.Use(
      "SELECT p.part, p.size, c.data IS NOT NULL FROM content_part p JOIN content c ON c.id = "
      "p.part "
      "WHERE p.content = ? ORDER BY p.number");
  query.Bind(1, row.content);
  uint64_t begin = 0;
  while (true) {
    ASSIGN_OR_RETURN(bool found, query.Step());
    if (!found) {
      break;
    }
    auto size = static_cast<uint64_t>(query.Int(1));
    if (query.Int(1) <= 0 || size > row.info.size_bytes - begin ||
        leaves.size() >= static_cast<size_t>(kMaxPartNumber)) {
      return StorageStatus(Reason::kCorrupt, "the parts of '" + row.info.key + "' do not add up");
    }
    leaves.push_back({query.Int(0), begin, size, query.Int(2) != 0});
    begin += size;
  }
  if (begin != row.info.size_bytes || leaves.empty()) {
    return StorageStatus(Reason::kCorrupt, "the parts of '" + row.info.key + "' do not add up");
  }
  return leaves;
}

}  // namespace

StorageResult<std::unique_ptr<BodyReader>> OpenBody(std::shared_ptr<BucketImpl> bucket,
                                                    Session& session, const ObjectRow& row,
                                                    Layout layout) {
  using Opened = std::unique_ptr<BodyReader>;
  if (row.info.size_bytes == 0) {
    return Opened(std::make_unique<MemoryReader>(Bytes()));
  }
  // A statement of its own sees the newest commit: what it does not find has been removed since.
  SqlQuery query = layout == Layout::kOurs
                       ? session.Use("SELECT parts, data FROM content WHERE id = ?")
                       : session.Use("SELECT 0, value FROM data WHERE key = ?");
  if (layout == Layout::kOurs) {
    query.Bind(1, row.content);
  } else {
    query.Bind(1, row.info.key);
  }
  ASSIGN_OR_RETURN(bool found, query.Step());
  if (!found) {
    return Opened();
  }
  if (!query.IsNull(1)) {
    ByteSpan data = query.Blob(1);
    if (data.size() != row.info.size_bytes) {
      return layout == Layout::kOurs
                 ? StorageResult<Opened>(StorageStatus(
                       Reason::kCorrupt, "the body of '" + row.info.key + "' has another size"))
                 : Opened();
    }
    return Opened(std::make_unique<MemoryReader>(Bytes(data.begin(), data.end())));
  }
  bool parts = query.Int(0) > 0;
  query.Reset();
  if (!bucket->pins().Pin(row.content)) {
    return Opened();
  }
  // Pinned: it stays as it is from here on. But a sweep may have ended just before.
  query.Bind(1, row.content);
  auto still = query.Step();
  query.Reset();
  StorageResult<std::vector<Leaf>> leaves =
      !still.ok() ? still.status()
      : *still    ? ReadLeaves(session, row, parts)
                  : StorageResult<std::vector<Leaf>>(std::vector<Leaf>());
  if (!leaves.ok() || leaves->empty()) {
    bucket->pins().Unpin(row.content);
    if (!leaves.ok()) {
      return leaves.status();
    }
    return Opened();
  }
  return Opened(std::make_unique<ChunkReader>(std::move(bucket), row.content, std::move(*leaves),
                                              row.info.size_bytes));
}

}  // namespace sqlite_s3::server
