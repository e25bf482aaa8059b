#include "agent/ship/spool.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "common/format/keys.h"
#include "common/os/errno_status.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kCacheLimitBytes = 4 << 20;
constexpr uint64_t kMaxItemBytes = uint64_t{256} << 20;
constexpr size_t kSequenceDigits = 16;

// "<sequence>+<key with '/' as '+'>": keys have no '+', so this is reversible.
std::string NameOf(uint64_t sequence, std::string key) {
  std::replace(key.begin(), key.end(), '/', '+');
  return FormatTxid({sequence}) + "+" + key;
}

std::optional<SpoolItem> ParseName(const std::string& name) {
  if (name.size() <= kSequenceDigits + 1 || name[kSequenceDigits] != '+') {
    return std::nullopt;
  }
  auto sequence = ParseTxid(std::string_view(name).substr(0, kSequenceDigits));
  if (!sequence.ok()) {
    return std::nullopt;
  }
  SpoolItem item;
  item.sequence = sequence->value;
  item.key = name.substr(kSequenceDigits + 1);
  std::replace(item.key.begin(), item.key.end(), '+', '/');
  item.is_segment = keys::ParseLogSegment(item.key).has_value();
  return item;
}

}  // namespace

Result<std::unique_ptr<Spool>> Spool::Open(const std::string& directory) {
  RETURN_IF_ERROR(MakeDirectories(directory, 0700, Durability::kVisible));
  std::unique_ptr<Spool> spool(new Spool(directory));
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(directory));
  for (const std::string& name : names) {
    auto item = ParseName(name);
    if (!item) {
      RETURN_IF_ERROR(RemoveFile(directory + "/" + name));  // a temporary file of a killed process
      continue;
    }
    struct stat st {};
    if (stat((directory + "/" + name).c_str(), &st) != 0) {
      return ErrnoStatus(errno, "look at", directory + "/" + name);
    }
    item->size_bytes = static_cast<uint64_t>(st.st_size);
    spool->bytes_ += item->size_bytes;
    spool->next_sequence_ = std::max(spool->next_sequence_, item->sequence + 1);
    spool->items_.push_back(std::move(*item));
    spool->cached_.emplace_back();
  }
  return spool;
}

std::string Spool::PathOf(const SpoolItem& item) const {
  return directory_ + "/" + NameOf(item.sequence, item.key);
}

Status Spool::Push(SpoolItem item, Bytes bytes) {
  {
    std::lock_guard lock(mutex_);
    item.sequence = next_sequence_++;
  }
  item.size_bytes = bytes.size();
  RETURN_IF_ERROR(WriteFileAtomically(PathOf(item), bytes, 0600, Durability::kVisible));
  std::lock_guard lock(mutex_);
  bytes_ += item.size_bytes;
  items_.push_back(std::move(item));
  if (cached_bytes_ + bytes.size() <= kCacheLimitBytes) {
    cached_bytes_ += bytes.size();
    cached_.push_back(std::move(bytes));
  } else {
    cached_.emplace_back();
  }
  return Status::Ok();
}

std::optional<SpoolItem> Spool::Front() {
  std::lock_guard lock(mutex_);
  if (items_.empty()) {
    return std::nullopt;
  }
  return items_.front();
}

Result<Bytes> Spool::ReadFront() {
  SpoolItem item;
  {
    std::lock_guard lock(mutex_);
    if (items_.empty()) {
      return InternalError("the spool is empty");
    }
    if (!cached_.front().empty()) {
      return cached_.front();
    }
    item = items_.front();
  }
  return Read(item);
}

Result<Bytes> Spool::Read(const SpoolItem& item) { return ReadFile(PathOf(item), kMaxItemBytes); }

Status Spool::Pop() {
  std::optional<SpoolItem> item = Front();
  if (!item) {
    return InternalError("the spool is empty");
  }
  // The file first: an item forgotten while its file stays would never be acknowledged.
  RETURN_IF_ERROR(RemoveFile(PathOf(*item)));
  std::lock_guard lock(mutex_);
  items_.pop_front();
  cached_bytes_ -= cached_.front().size();
  cached_.pop_front();
  bytes_ -= item->size_bytes;
  return Status::Ok();
}

std::vector<SpoolItem> Spool::Items() {
  std::lock_guard lock(mutex_);
  return {items_.begin(), items_.end()};
}

Status Spool::Clear() {
  while (Front()) {
    RETURN_IF_ERROR(Pop());
  }
  return Status::Ok();
}

Status Spool::DropAfter(size_t count) {
  std::lock_guard lock(mutex_);
  while (items_.size() > count) {
    RETURN_IF_ERROR(RemoveFile(PathOf(items_.back())));
    bytes_ -= items_.back().size_bytes;
    cached_bytes_ -= cached_.back().size();
    items_.pop_back();
    cached_.pop_back();
  }
  return Status::Ok();
}

uint64_t Spool::bytes() {
  std::lock_guard lock(mutex_);
  return bytes_;
}

size_t Spool::size() {
  std::lock_guard lock(mutex_);
  return items_.size();
}

}  // namespace sqlite_s3
