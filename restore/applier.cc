#include "restore/applier.h"

#include <fmt/format.h>

#include <algorithm>

namespace sqlite_s3 {

Applier::Applier(Replica& replica, PageStore& pages, uint32_t page_size, CommitSink sink)
    : replica_(replica), pages_(pages), page_size_(page_size), sink_(std::move(sink)) {}

Status Applier::Apply(const Segment& segment, size_t index, const std::string& key) {
  const CommitRecord& record = segment.commits[index];
  const Txid txid{segment.header.first_txid.value + index};
  const uint32_t before = pages_.page_count();
  commit_pages_.clear();
  auto context = [&] { return "TXID " + FormatTxid(txid) + " in " + key; };

  // A chunk's bases are the pages before the commit; a page occurs once in a commit, so writing one
  // chunk spoils no other's base. But a shrinking commit must read what it needs before it cuts.
  const bool shrinks = record.page_count < before;
  if (!shrinks) {
    RETURN_IF_ERROR(pages_.Resize(record.page_count));
  }
  size_t next = 0;
  if ((record.flags & kCommitInParts) == 0) {
    ByteReader in(segment.chunk_data[index]);
    Status status =
        ApplyChunks(record, in, &next, ChunkCount(record.pages.size(), page_size_), before);
    if (!status.ok()) {
      return status.WithContext(context());
    }
  }
  for (const PartRef& ref : record.parts) {
    ASSIGN_OR_RETURN(Bytes part, replica_.ReadPart(segment.header.timeline, ref));
    part_bytes_ += part.size();
    ByteReader in(part);
    Status status = ApplyChunks(record, in, &next, ref.chunk_count, before);
    if (!status.ok()) {
      return status.WithContext(context());
    }
  }
  if (shrinks) {
    RETURN_IF_ERROR(pages_.Resize(record.page_count));
  }
  if (next != record.pages.size() || pages_.checksum() != record.db_checksum) {
    return CorruptionError(fmt::format("{}: the database has checksum {:016x} after it, not {:016x}",
                                       context(), pages_.checksum(), record.db_checksum));
  }
  return sink_ ? sink_(record, commit_pages_) : Status::Ok();
}

Status Applier::ApplyChunks(const CommitRecord& record, ByteReader& in, size_t* next,
                            uint32_t chunks, uint32_t before) {
  const uint32_t per_chunk = PagesPerChunk(page_size_);
  for (uint32_t c = 0; c < chunks; ++c) {
    const size_t first = *next;
    const size_t last = std::min<size_t>(first + per_chunk, record.pages.size());
    if (first >= last) {
      return CorruptionError("more page data than pages");
    }
    bases_.clear();
    for (size_t i = first; i < last; ++i) {
      if (PageHasBase(record.pages[i], before, record.flags)) {
        ASSIGN_OR_RETURN(ByteSpan base, pages_.Read(record.pages[i]));
        bases_.insert(bases_.end(), base.begin(), base.end());
      }
    }
    decoded_.resize((last - first) * page_size_);
    RETURN_IF_ERROR(decoder_.Next(in, bases_, decoded_));
    for (size_t i = first; i < last; ++i) {
      RETURN_IF_ERROR(pages_.Write(
          record.pages[i], ByteSpan(decoded_).subspan((i - first) * page_size_, page_size_),
          record.pages[i] <= before));
    }
    if (sink_) {
      commit_pages_.insert(commit_pages_.end(), decoded_.begin(), decoded_.end());
    }
    *next = last;
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
