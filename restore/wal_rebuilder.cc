#include "restore/wal_rebuilder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "common/base/hash.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

}  // namespace

WalRebuilder::~WalRebuilder() {
  if (wal_.valid()) {
    (void)RemoveFile(path_ + "-wal");  // a failed restore leaves none of its files
    (void)RemoveFile(path_ + "-shm");
  }
}

Status WalRebuilder::Begin() {
  ASSIGN_OR_RETURN(wal_, OpenFile(path_ + "-wal", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  uint8_t salts[8];
  RETURN_IF_ERROR(FillRandom(salts));
  header_ = WalHeader{};
  header_.page_size = page_size_;
  header_.salt1 = LoadLe32(salts);
  header_.salt2 = LoadLe32(salts + 4);
  std::array<uint8_t, kWalHeaderBytes> bytes{};
  EncodeWalHeader(header_, bytes);
  ASSIGN_OR_RETURN(WalHeader parsed, ParseWalHeader(bytes));
  running_ = parsed.checksum;
  buffer_.assign(bytes.begin(), bytes.end());
  offset_ = 0;
  frames_ = 0;
  return Status::Ok();
}

Status WalRebuilder::AddFrame(PageNumber page, uint32_t commit_pages, ByteSpan content) {
  uint8_t h[kWalFrameHeaderBytes];
  StoreBe32(h, page);
  StoreBe32(h + 4, commit_pages);
  StoreBe32(h + 8, header_.salt1);
  StoreBe32(h + 12, header_.salt2);
  running_ = ExtendWalChecksum(running_, ByteSpan(h, 8), header_.big_endian_words);
  running_ = ExtendWalChecksum(running_, content, header_.big_endian_words);
  StoreBe32(h + 16, running_.s0);
  StoreBe32(h + 20, running_.s1);
  buffer_.insert(buffer_.end(), h, h + sizeof(h));
  buffer_.insert(buffer_.end(), content.begin(), content.end());
  ++frames_;
  if (buffer_.size() >= kBufferBytes) {
    RETURN_IF_ERROR(WriteAt(wal_, offset_, buffer_, path_ + "-wal"));
    offset_ += buffer_.size();
    buffer_.clear();
  }
  return Status::Ok();
}

Status WalRebuilder::Add(const CommitRecord& record, ByteSpan pages, ByteSpan first_page) {
  if (!wal_.valid()) {
    RETURN_IF_ERROR(Begin());
  }
  if (record.pages.empty()) {
    return AddFrame(1, record.page_count, first_page);
  }
  for (size_t i = 0; i < record.pages.size(); ++i) {
    const bool last = i + 1 == record.pages.size();
    RETURN_IF_ERROR(AddFrame(record.pages[i], last ? record.page_count : 0,
                             pages.subspan(i * page_size_, page_size_)));
  }
  return Status::Ok();
}

Status WalRebuilder::Checkpoint() {
  if (!wal_.valid()) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(WriteAt(wal_, offset_, buffer_, path_ + "-wal"));
  offset_ = 0;
  buffer_.clear();
  {
    ASSIGN_OR_RETURN(Connection db, Connection::Open(path_, SQLITE_OPEN_READWRITE, "", 0));
    // The file is synced once, at the end, by the restore.
    RETURN_IF_ERROR(db.Exec("PRAGMA synchronous=OFF"));
    RETURN_IF_ERROR(db.QueryInt("PRAGMA user_version").status());
    int log = 0;
    int done = 0;
    int rc = sqlite3_wal_checkpoint_v2(db.get(), "main", SQLITE_CHECKPOINT_PASSIVE, &log, &done);
    RETURN_IF_ERROR(SqliteStatus(rc, "checkpoint of the rebuilt WAL", db.get()));
    if (log != frames_ || done != frames_) {
      return InternalError(fmt::format(
          "sqlite took {} of {} frames of the rebuilt WAL and checkpointed {}", log, frames_, done));
    }
  }  // the last close removes -wal and -shm
  wal_.Close();
  RETURN_IF_ERROR(RemoveFile(path_ + "-wal"));
  return RemoveFile(path_ + "-shm");
}

}  // namespace sqlite_s3
