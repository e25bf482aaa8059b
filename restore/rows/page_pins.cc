#include "restore/rows/page_pins.h"

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMemoryBytes = uint64_t{64} << 20;

}  // namespace

PagePins::Id PagePins::Pin() {
  states_.push_back({store_.page_count(), {}});
  return first_id_ + states_.size() - 1;
}

void PagePins::UnpinAll() {
  first_id_ += states_.size();
  states_.clear();
  slots_ = 0;
}

uint32_t PagePins::PageCount(Id pin) const {
  return pin == 0 ? store_.page_count() : states_[pin - first_id_].page_count;
}

Result<ByteSpan> PagePins::Read(Id pin, PageNumber number) {
  if (number == 0 || number > PageCount(pin) || number == LockBytePage(page_size_)) {
    return CorruptionError("the database names a page " + std::to_string(number) +
                           " that it does not have");
  }
  if (pin != 0) {
    for (size_t i = pin - first_id_; i < states_.size(); ++i) {
      if (auto kept = states_[i].kept.find(number); kept != states_[i].kept.end()) {
        return Kept(kept->second);
      }
    }
  }
  return store_.Read(number);
}

Status PagePins::Replaced(PageNumber number, ByteSpan content) {
  if (states_.empty()) {
    return Status::Ok();
  }
  State& newest = states_.back();
  if (number <= newest.page_count && !newest.kept.contains(number)) {
    ASSIGN_OR_RETURN(const uint64_t slot, Keep(content));
    newest.kept.emplace(number, slot);
  }
  return Status::Ok();
}

Result<uint64_t> PagePins::Keep(ByteSpan content) {
  const uint64_t slot = slots_;
  const uint64_t in_memory = kMemoryBytes / page_size_;
  if (slot < in_memory) {
    if (slot == memory_.size()) {
      memory_.emplace_back();
    }
    memory_[slot].assign(content.begin(), content.end());
  } else {
    if (!file_) {
      ASSIGN_OR_RETURN(file_, TargetFile::Create(""));
    }
    RETURN_IF_ERROR(WriteAt(file_->fd(), (slot - in_memory) * page_size_, content, file_->path()));
  }
  ++slots_;
  return slot;
}

Result<ByteSpan> PagePins::Kept(uint64_t slot) {
  const uint64_t in_memory = kMemoryBytes / page_size_;
  if (slot < in_memory) {
    return ByteSpan(memory_[slot]);
  }
  buffer_.resize(page_size_);
  RETURN_IF_ERROR(
      ReadExactlyAt(file_->fd(), (slot - in_memory) * page_size_, buffer_, file_->path()));
  return ByteSpan(buffer_);
}

}  // namespace sqlite_s3
