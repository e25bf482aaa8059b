#include "agent/ship/page_hashes.h"

#include <fcntl.h>

#include <algorithm>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kRunLength = 8192;
constexpr uint64_t kLogLimitBytes = 8 << 20;
constexpr uint32_t kRecordMagic = 0x31474f4c;  // "LOG1"
constexpr size_t kRecordHeaderBytes = 16;
constexpr size_t kEntryBytes = 12;
constexpr uint32_t kMaxRecordEntries = 1U << 28;

uint64_t OffsetOf(PageNumber page) { return uint64_t{page - 1} * 8; }

}  // namespace

Result<HashTableFile> HashTableFile::Create(const std::string& path) {
  HashTableFile file;
  file.path_ = path;
  ASSIGN_OR_RETURN(file.fd_, OpenFile(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  return file;
}

Status HashTableFile::Set(PageNumber page, uint64_t hash) {
  if (!run_.empty() && page >= run_first_ && page < run_first_ + run_.size()) {
    run_[page - run_first_] = hash;
    return Status::Ok();
  }
  if (run_.empty() || page == run_first_ + run_.size()) {
    if (run_.empty()) {
      run_first_ = page;
    }
    run_.push_back(hash);
    return run_.size() >= kRunLength ? Flush() : Status::Ok();
  }
  uint8_t bytes[8];
  StoreLe64(bytes, hash);
  return WriteAt(fd_, OffsetOf(page), bytes, path_);
}

Result<uint64_t> HashTableFile::Get(PageNumber page) {
  if (!run_.empty() && page >= run_first_ && page < run_first_ + run_.size()) {
    return run_[page - run_first_];
  }
  uint8_t bytes[8];
  RETURN_IF_ERROR(ReadExactlyAt(fd_, OffsetOf(page), bytes, path_));
  return LoadLe64(bytes);
}

Status HashTableFile::Truncate(uint32_t page_count) {
  RETURN_IF_ERROR(Flush());
  return TruncateFile(fd_, uint64_t{page_count} * 8, path_);
}

Status HashTableFile::Flush() {
  if (run_.empty()) {
    return Status::Ok();
  }
  Bytes bytes(run_.size() * 8);
  for (size_t i = 0; i < run_.size(); ++i) {
    StoreLe64(&bytes[i * 8], run_[i]);
  }
  Status status = WriteAt(fd_, OffsetOf(run_first_), bytes, path_);
  run_.clear();
  return status;
}

Result<PageHashes> PageHashes::Open(const std::string& directory) {
  PageHashes hashes;
  hashes.directory_ = directory;
  ASSIGN_OR_RETURN(hashes.table_,
                   OpenFile(directory + "/hashes", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  ASSIGN_OR_RETURN(hashes.log_,
                   OpenFile(directory + "/hashes.log", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  ASSIGN_OR_RETURN(hashes.log_bytes_, FileSize(hashes.log_, directory + "/hashes.log"));
  return hashes;
}

Result<bool> PageHashes::LoadAt(Txid txid, uint32_t page_count, uint64_t db_checksum,
                                uint32_t page_size) {
  pending_.clear();
  unlogged_.clear();
  RETURN_IF_ERROR(ReplayLog(txid));
  // What is left was for segments that never left this machine; their TXIDs will be used again.
  RETURN_IF_ERROR(TruncateFile(log_, 0, directory_ + "/hashes.log"));
  log_bytes_ = 0;
  ASSIGN_OR_RETURN(uint64_t size, FileSize(table_, directory_ + "/hashes"));
  if (size / 8 < page_count) {
    return false;
  }
  uint64_t sum = 0;
  const PageNumber lock_page = LockBytePage(page_size);
  RETURN_IF_ERROR(ForRange(
      1, page_count, [&](PageNumber page, uint64_t hash) { sum ^= page == lock_page ? 0 : hash; }));
  return sum == db_checksum;
}

Status PageHashes::Adopt(HashTableFile scan) {
  RETURN_IF_ERROR(scan.Flush());
  pending_.clear();
  unlogged_.clear();
  // The log goes first: replayed over the new table it would spoil it. A crash in between leaves an
  // old table without its log, whose XOR fits nothing.
  RETURN_IF_ERROR(TruncateFile(log_, 0, directory_ + "/hashes.log"));
  log_bytes_ = 0;
  RETURN_IF_ERROR(RenameFile(scan.path(), directory_ + "/hashes", Durability::kVisible));
  ASSIGN_OR_RETURN(table_, OpenFile(directory_ + "/hashes", O_RDWR | O_NOFOLLOW));
  return Status::Ok();
}

Result<uint64_t> PageHashes::Get(PageNumber page) {
  auto it = pending_.find(page);
  if (it != pending_.end()) {
    return it->second.hash;
  }
  uint8_t bytes[8];
  RETURN_IF_ERROR(ReadExactlyAt(table_, OffsetOf(page), bytes, directory_ + "/hashes"));
  return LoadLe64(bytes);
}

Status PageHashes::ForRange(PageNumber first, PageNumber last,
                            const std::function<void(PageNumber, uint64_t)>& fn) {
  Bytes block(kRunLength * 8);
  for (uint64_t page = first; page <= last;) {
    size_t n = std::min<size_t>(kRunLength, last - page + 1);
    // Short reads are pages that are only in memory yet.
    ASSIGN_OR_RETURN(size_t got,
                     ReadAt(table_, OffsetOf(static_cast<PageNumber>(page)),
                            std::span<uint8_t>(block.data(), n * 8), directory_ + "/hashes"));
    for (size_t i = 0; i < n; ++i, ++page) {
      auto it = pending_.empty() ? pending_.end() : pending_.find(static_cast<PageNumber>(page));
      if (it != pending_.end()) {
        fn(static_cast<PageNumber>(page), it->second.hash);
      } else {
        fn(static_cast<PageNumber>(page), (i + 1) * 8 <= got ? LoadLe64(&block[i * 8]) : 0);
      }
    }
  }
  return Status::Ok();
}

void PageHashes::Set(PageNumber page, uint64_t hash) {
  auto [it, inserted] = pending_.try_emplace(page, Pending{hash, 0});
  if (inserted) {
    unlogged_.push_back(page);
    return;
  }
  if (it->second.txid != 0) {
    unlogged_.push_back(page);
  }
  it->second = {hash, 0};
}

Status PageHashes::LogSegment(Txid last) {
  Bytes record;
  record.reserve(kRecordHeaderBytes + unlogged_.size() * kEntryBytes);
  ByteWriter w(record);
  w.U32(kRecordMagic);
  w.U32(static_cast<uint32_t>(unlogged_.size()));
  w.U64(last.value);
  for (PageNumber page : unlogged_) {
    Pending& p = pending_[page];
    p.txid = last.value;
    w.U32(page);
    w.U64(p.hash);
  }
  unlogged_.clear();
  RETURN_IF_ERROR(WriteAt(log_, log_bytes_, record, directory_ + "/hashes.log"));
  log_bytes_ += record.size();
  return Status::Ok();
}

Status PageHashes::Acknowledge(Txid txid, bool always) {
  if (!always && log_bytes_ < kLogLimitBytes) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(ReplayLog(txid));
  std::erase_if(pending_, [&](const auto& entry) {
    return entry.second.txid != 0 && entry.second.txid <= txid.value;
  });
  return Status::Ok();
}

// Writes the records up to `up_to` into the table and keeps the others in the log. Writing a record
// twice is harmless, so a crash anywhere in here is: the log is cut only after the table has it.
Status PageHashes::ReplayLog(Txid up_to) {
  const std::string name = directory_ + "/hashes.log";
  Bytes log(log_bytes_);
  ASSIGN_OR_RETURN(size_t got, ReadAt(log_, 0, log, name));
  log.resize(got);
  std::unordered_map<PageNumber, uint64_t> latest;
  Bytes kept;
  for (size_t at = 0; at + kRecordHeaderBytes <= log.size();) {
    uint32_t count = LoadLe32(&log[at + 4]);
    uint64_t txid = LoadLe64(&log[at + 8]);
    if (LoadLe32(&log[at]) != kRecordMagic || count > kMaxRecordEntries ||
        count * kEntryBytes > log.size() - at - kRecordHeaderBytes) {
      break;  // a torn tail: whether it mattered is for the XOR to say
    }
    size_t end = at + kRecordHeaderBytes + count * kEntryBytes;
    if (txid <= up_to.value) {
      for (size_t e = at + kRecordHeaderBytes; e < end; e += kEntryBytes) {
        latest[LoadLe32(&log[e])] = LoadLe64(&log[e + 4]);
      }
    } else {
      kept.insert(kept.end(), log.begin() + static_cast<ptrdiff_t>(at),
                  log.begin() + static_cast<ptrdiff_t>(end));
    }
    at = end;
  }
  std::vector<std::pair<PageNumber, uint64_t>> sorted(latest.begin(), latest.end());
  std::sort(sorted.begin(), sorted.end());
  Bytes run;
  for (size_t i = 0; i < sorted.size();) {
    run.clear();
    PageNumber first = sorted[i].first;
    while (i < sorted.size() && sorted[i].first == first + run.size() / 8) {
      run.resize(run.size() + 8);
      StoreLe64(&run[run.size() - 8], sorted[i].second);
      ++i;
    }
    if (first == 0) {
      continue;  // page 0 is damage
    }
    RETURN_IF_ERROR(WriteAt(table_, OffsetOf(first), run, directory_ + "/hashes"));
  }
  if (kept.size() == log_bytes_) {
    return Status::Ok();
  }
  if (kept.empty()) {
    RETURN_IF_ERROR(TruncateFile(log_, 0, name));
  } else {
    RETURN_IF_ERROR(WriteFileAtomically(name, kept, 0600, Durability::kVisible));
    ASSIGN_OR_RETURN(log_, OpenFile(name, O_RDWR | O_NOFOLLOW));
  }
  log_bytes_ = kept.size();
  return Status::Ok();
}

}  // namespace sqlite_s3
