#include "restore/wal_rebuilder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/base/hash.h"
#include "common/os/file.h"
#include "common/sqlite/connection.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kBufferBytes = 1 << 20;

}  // namespace

WalRebuilder::~WalRebuilder() {
  if (wal_.valid()) {
    (void)RemoveFile(wal_path_);  // a failed restore leaves none of its files
    (void)RemoveFile(path_ + "-shm");
  }
}

Status WalRebuilder::Begin() {
  // Its name follows from the database's, which nobody else knows; still nothing there is followed.
  ASSIGN_OR_RETURN(wal_, OpenFile(wal_path_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
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

Status WalRebuilder::WriteBuffer() {
  RETURN_IF_ERROR(WriteAt(wal_, offset_, buffer_, wal_path_));
  offset_ += buffer_.size();
  buffer_.clear();
  return Status::Ok();
}

Status WalRebuilder::AddPage(PageNumber page, ByteSpan content, bool last, uint32_t page_count) {
  if (!wal_.valid()) {
    RETURN_IF_ERROR(Begin());
  }
  if (frames_ == std::numeric_limits<int>::max()) {  // what SQLite counts them with
    return ResourceExhaustedError("a commit has more pages than a WAL can hold, hint: --via pages");
  }
  uint8_t h[kWalFrameHeaderBytes];
  StoreBe32(h, page);
  StoreBe32(h + 4, last ? page_count : 0);
  StoreBe32(h + 8, header_.salt1);
  StoreBe32(h + 12, header_.salt2);
  running_ = ExtendWalChecksum(running_, ByteSpan(h, 8), header_.big_endian_words);
  running_ = ExtendWalChecksum(running_, content, header_.big_endian_words);
  StoreBe32(h + 16, running_.s0);
  StoreBe32(h + 20, running_.s1);
  buffer_.insert(buffer_.end(), h, h + sizeof(h));
  newest_[page] = wal_bytes();
  buffer_.insert(buffer_.end(), content.begin(), content.end());
  ++frames_;
  return buffer_.size() >= kBufferBytes ? WriteBuffer() : Status::Ok();
}

Result<bool> WalRebuilder::Read(PageNumber page, std::span<uint8_t> out) {
  const auto it = newest_.find(page);
  if (it == newest_.end()) {
    return false;
  }
  if (it->second >= offset_) {
    const auto begin = buffer_.begin() + static_cast<ptrdiff_t>(it->second - offset_);
    std::copy(begin, begin + static_cast<ptrdiff_t>(out.size()), out.begin());
    return true;
  }
  RETURN_IF_ERROR(ReadExactlyAt(wal_, it->second, out, wal_path_));
  return true;
}

Status WalRebuilder::Checkpoint() {
  if (!wal_.valid()) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(WriteBuffer());
  {
    ASSIGN_OR_RETURN(Connection db, Connection::Open(path_, SQLITE_OPEN_READWRITE, "", 0));
    // The content is untrusted; no statement below needs its schema.
    sqlite3_db_config(db.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db.get(), SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    // Exclusive from before the first read: the wal-index stays in memory, no -shm is made, and
    // nobody can come between. Not synced: the restore does that once, at its end.
    RETURN_IF_ERROR(db.Exec("PRAGMA locking_mode=EXCLUSIVE"));
    RETURN_IF_ERROR(db.Exec("PRAGMA synchronous=OFF"));
    ASSIGN_OR_RETURN(const std::string mode, db.QueryText("PRAGMA journal_mode"));
    if (mode != "wal") {
      return FailedPreconditionError("the restored database is in journal mode '" + mode +
                                     "', so that SQLite ignores a WAL, hint: --via pages");
    }
    int log = 0;
    int done = 0;
    int rc = sqlite3_wal_checkpoint_v2(db.get(), "main", SQLITE_CHECKPOINT_PASSIVE, &log, &done);
    RETURN_IF_ERROR(SqliteStatus(rc, "checkpoint of the rebuilt WAL", db.get()));
    if (log != frames_ || done != frames_) {
      return InternalError(
          fmt::format("sqlite took {} of {} frames of the rebuilt WAL and checkpointed {}", log,
                      frames_, done));
    }
  }  // the last close removes -wal
  wal_.Close();
  offset_ = 0;
  newest_.clear();
  RETURN_IF_ERROR(RemoveFile(wal_path_));
  return RemoveFile(path_ + "-shm");
}

}  // namespace sqlite_s3
