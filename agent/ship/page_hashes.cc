#include "agent/ship/page_hashes.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kRunLength = 8192;
// What is kept in memory of pages that are in the table, and what may be set before it is written
// down: about 3 MiB each.
constexpr size_t kMaxCached = 1 << 16;
constexpr size_t kMaxDirty = 1 << 16;
constexpr uint64_t kUndoFileBytes = 8 << 20;
constexpr std::string_view kUndoPrefix = "hashes.undo.";
constexpr uint32_t kRecordMagic = 0x31444e55;  // "UND1"
constexpr size_t kRecordHeaderBytes = 16;      // magic, count, TXID
constexpr size_t kEntryBytes = 12;             // page, what the table held

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
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(directory));
  for (const std::string& name : names) {
    uint64_t sequence = 0;
    const char* end = name.data() + name.size();
    if (name.starts_with(kUndoPrefix)) {
      const auto [stop, error] = std::from_chars(name.data() + kUndoPrefix.size(), end, sequence);
      if (error == std::errc() && stop == end) {
        hashes.undo_.push_back({.sequence = sequence});
      }
    }
  }
  std::ranges::sort(hashes.undo_, {}, &UndoFile::sequence);
  return hashes;
}

void PageHashes::Rest() {
  if (!dirty_.empty()) {
    return;
  }
  entries_ = {};
  dirty_ = {};
  table_ = Fd();
  undo_fd_ = Fd();
}

Status PageHashes::OpenTable() {
  if (!table_.valid()) {
    ASSIGN_OR_RETURN(table_, OpenFile(directory_ + "/hashes", O_RDWR | O_NOFOLLOW));
  }
  return Status::Ok();
}

std::string PageHashes::UndoPath(uint64_t sequence) const {
  return directory_ + "/" + std::string(kUndoPrefix) + std::to_string(sequence);
}

Result<bool> PageHashes::LoadAt(Txid txid, uint32_t page_count, uint64_t db_checksum,
                                uint32_t page_size) {
  entries_.clear();
  dirty_.clear();
  RETURN_IF_ERROR(OpenTable());
  RETURN_IF_ERROR(UndoDownTo(txid));
  // The TXIDs of segments that never left this machine will be used again.
  RETURN_IF_ERROR(DropUndoLog());
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
  entries_.clear();
  dirty_.clear();
  // The undo log goes first: applied to the new table it would spoil it. A crash in between leaves
  // a table whose XOR fits nothing, or the right one.
  RETURN_IF_ERROR(DropUndoLog());
  RETURN_IF_ERROR(RenameFile(scan.path(), directory_ + "/hashes", Durability::kVisible));
  ASSIGN_OR_RETURN(table_, OpenFile(directory_ + "/hashes", O_RDWR | O_NOFOLLOW));
  return Status::Ok();
}

Result<uint64_t> PageHashes::Get(PageNumber page) {
  auto it = entries_.find(page);
  if (it != entries_.end()) {
    return it->second.hash;
  }
  uint8_t bytes[8];
  RETURN_IF_ERROR(OpenTable());
  RETURN_IF_ERROR(ReadExactlyAt(table_, OffsetOf(page), bytes, directory_ + "/hashes"));
  return LoadLe64(bytes);
}

Status PageHashes::ForRange(PageNumber first, PageNumber last,
                            const std::function<void(PageNumber, uint64_t)>& fn) {
  Bytes block(kRunLength * 8);
  RETURN_IF_ERROR(OpenTable());
  for (uint64_t page = first; page <= last;) {
    size_t n = std::min<size_t>(kRunLength, last - page + 1);
    // Short reads are pages that are only in memory yet.
    ASSIGN_OR_RETURN(size_t got,
                     ReadAt(table_, OffsetOf(static_cast<PageNumber>(page)),
                            std::span<uint8_t>(block.data(), n * 8), directory_ + "/hashes"));
    for (size_t i = 0; i < n; ++i, ++page) {
      auto it = entries_.empty() ? entries_.end() : entries_.find(static_cast<PageNumber>(page));
      if (it != entries_.end()) {
        fn(static_cast<PageNumber>(page), it->second.hash);
      } else {
        fn(static_cast<PageNumber>(page), (i + 1) * 8 <= got ? LoadLe64(&block[i * 8]) : 0);
      }
    }
  }
  return Status::Ok();
}

Status PageHashes::Set(PageNumber page, uint64_t hash, Txid commit) {
  auto [it, inserted] = entries_.try_emplace(page, Entry{hash, false});
  it->second.hash = hash;
  if (it->second.dirty) {
    return Status::Ok();
  }
  it->second.dirty = true;
  dirty_.push_back(page);
  // A commit of any size passes through here. Its first part carries its own TXID, which is later
  // than everything acknowledged and not later than the segment's last.
  return dirty_.size() >= kMaxDirty ? WriteDown(commit) : Status::Ok();
}

Status PageHashes::LogSegment(Txid last) { return WriteDown(last); }

// Undo first, then the table: whoever dies in between has an undo that changes nothing.
Status PageHashes::WriteDown(Txid txid) {
  if (dirty_.empty()) {
    return Status::Ok();
  }
  RETURN_IF_ERROR(OpenTable());
  std::ranges::sort(dirty_);
  Bytes undo;
  undo.reserve(kRecordHeaderBytes + dirty_.size() * kEntryBytes);
  ByteWriter w(undo);
  w.U32(kRecordMagic);
  w.U32(static_cast<uint32_t>(dirty_.size()));
  w.U64(txid.value);
  std::vector<uint64_t> hashes;
  auto for_runs = [&](auto fn) -> Status {
    for (size_t i = 0; i < dirty_.size();) {
      size_t n = 1;
      while (i + n < dirty_.size() && dirty_[i + n] == dirty_[i] + n) {
        ++n;
      }
      hashes.resize(n);
      RETURN_IF_ERROR(fn(dirty_[i]));
      i += n;
    }
    return Status::Ok();
  };
  Status status = for_runs([&](PageNumber first) -> Status {
    RETURN_IF_ERROR(ReadRun(first, hashes));
    for (size_t i = 0; i < hashes.size(); ++i) {
      w.U32(static_cast<PageNumber>(first + i));
      w.U64(hashes[i]);
    }
    return Status::Ok();
  });
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(AppendUndo(undo, txid));
  status = for_runs([&](PageNumber first) -> Status {
    for (size_t i = 0; i < hashes.size(); ++i) {
      Entry& entry = entries_[static_cast<PageNumber>(first + i)];
      hashes[i] = entry.hash;
      entry.dirty = false;
    }
    return WriteRun(first, hashes);
  });
  RETURN_IF_ERROR(status);
  dirty_.clear();
  if (entries_.size() > kMaxCached) {
    entries_.clear();
  }
  return Status::Ok();
}

// Beyond the end of the table: 0.
Status PageHashes::ReadRun(PageNumber first, std::span<uint64_t> hashes) {
  Bytes bytes(hashes.size() * 8);
  ASSIGN_OR_RETURN(size_t got, ReadAt(table_, OffsetOf(first), bytes, directory_ + "/hashes"));
  for (size_t i = 0; i < hashes.size(); ++i) {
    hashes[i] = (i + 1) * 8 <= got ? LoadLe64(&bytes[i * 8]) : 0;
  }
  return Status::Ok();
}

Status PageHashes::WriteRun(PageNumber first, std::span<const uint64_t> hashes) {
  Bytes bytes(hashes.size() * 8);
  for (size_t i = 0; i < hashes.size(); ++i) {
    StoreLe64(&bytes[i * 8], hashes[i]);
  }
  return WriteAt(table_, OffsetOf(first), bytes, directory_ + "/hashes");
}

Status PageHashes::AppendUndo(ByteSpan record, Txid txid) {
  if (undo_.empty() || undo_.back().bytes >= kUndoFileBytes) {
    const uint64_t sequence = undo_.empty() ? 1 : undo_.back().sequence + 1;
    ASSIGN_OR_RETURN(undo_fd_,
                     OpenFile(UndoPath(sequence), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    undo_.push_back({.sequence = sequence});
  }
  UndoFile& file = undo_.back();
  if (!undo_fd_.valid()) {
    ASSIGN_OR_RETURN(undo_fd_, OpenFile(UndoPath(file.sequence), O_RDWR | O_NOFOLLOW));
  }
  RETURN_IF_ERROR(WriteAt(undo_fd_, file.bytes, record, UndoPath(file.sequence)));
  file.bytes += record.size();
  file.last_txid = txid.value;
  return Status::Ok();
}

Status PageHashes::Acknowledge(Txid txid) {
  // The file that grows goes too, once it is worth it.
  while (!undo_.empty() && undo_.front().last_txid <= txid.value &&
         (undo_.size() > 1 || undo_.front().bytes >= kUndoFileBytes)) {
    RETURN_IF_ERROR(RemoveFile(UndoPath(undo_.front().sequence)));
    undo_.pop_front();
  }
  return Status::Ok();
}

// Newest first. Doing it twice is harmless, so a crash anywhere in here is: the log is dropped only
// after the table has it.
Status PageHashes::UndoDownTo(Txid txid) {
  for (auto file = undo_.rbegin(); file != undo_.rend(); ++file) {
    RETURN_IF_ERROR(UndoFileDownTo(UndoPath(file->sequence), txid));
  }
  return Status::Ok();
}

Status PageHashes::UndoFileDownTo(const std::string& path, Txid txid) {
  ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY | O_NOFOLLOW));
  struct Record {
    uint64_t offset;  // of its entries
    uint32_t count;
    uint64_t txid;
  };
  std::vector<Record> records;
  for (uint64_t at = 0;;) {
    uint8_t header[kRecordHeaderBytes];
    ASSIGN_OR_RETURN(size_t got, ReadAt(fd, at, header, path));
    const uint32_t count = LoadLe32(&header[4]);
    if (got < sizeof(header) || LoadLe32(header) != kRecordMagic || count > kMaxDirty) {
      break;  // a torn tail, which the table has not seen: whether it mattered is for the XOR to
              // say
    }
    at += sizeof(header);
    records.push_back({at, count, LoadLe64(&header[8])});
    at += uint64_t{count} * kEntryBytes;
  }
  Bytes entries;
  for (auto record = records.rbegin(); record != records.rend(); ++record) {
    if (record->txid <= txid.value) {
      continue;
    }
    entries.resize(record->count * kEntryBytes);
    ASSIGN_OR_RETURN(size_t got, ReadAt(fd, record->offset, entries, path));
    if (got < entries.size()) {
      continue;  // torn: as above
    }
    std::vector<uint64_t> run;
    for (size_t e = 0; e < entries.size();) {
      const PageNumber first = LoadLe32(&entries[e]);
      run.clear();
      while (e < entries.size() && LoadLe32(&entries[e]) == first + run.size()) {
        run.push_back(LoadLe64(&entries[e + 4]));
        e += kEntryBytes;
      }
      if (first != 0) {  // page 0 is damage
        RETURN_IF_ERROR(WriteRun(first, run));
      }
    }
  }
  return Status::Ok();
}

Status PageHashes::DropUndoLog() {
  // The newest first: an older one alone would undo to a state that never was.
  while (!undo_.empty()) {
    RETURN_IF_ERROR(RemoveFile(UndoPath(undo_.back().sequence)));
    undo_.pop_back();
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
