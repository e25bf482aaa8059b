#include "restore/applier.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/format/keys.h"
#include "common/replica/ordered_fetch.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kPartsAheadBytes = uint64_t{256} << 20;

}  // namespace

Applier::Applier(Replica& replica, PageStore& pages, uint32_t page_size, CommitSink* sink)
    : replica_(replica), pages_(pages), page_size_(page_size), sink_(sink) {}

Status Applier::Apply(const Segment& segment, size_t index, const std::string& key,
                      Damage* damage) {
  const CommitRecord& record = segment.commits[index];
  const Txid txid{segment.header.first_txid.value + index};
  const uint32_t before = pages_.page_count();
  const auto named = [&](const Status& status) {
    if (status.code() == StatusCode::kCorruption && damage->key.empty()) {
      *damage = {key, /*missing=*/false, std::nullopt, std::nullopt};
    }
    if (!damage->key.empty()) {
      damage->best = txid.Prev();
    }
    return status.WithContext("TXID " + FormatTxid(txid) + " in " + key);
  };

  // A chunk's bases are the pages before the commit; a page occurs once in a commit, so writing one
  // chunk spoils no other's base. But a shrinking commit must read what it needs before it cuts.
  const bool shrinks = record.page_count < before;
  if (!shrinks) {
    RETURN_IF_ERROR(pages_.Resize(record.page_count));
  }
  size_t next = 0;
  if ((record.flags & kCommitInParts) == 0) {
    ByteReader in(segment.chunk_data[index]);
    const uint32_t chunks = ChunkCount(record.pages.size(), page_size_);
    if (Status status = ApplyChunks(record, in, &next, chunks, before); !status.ok()) {
      return named(status);
    }
  } else if (Status status = ApplyParts(segment, record, &next, before, damage); !status.ok()) {
    return named(status);
  }
  if (shrinks) {
    RETURN_IF_ERROR(pages_.Resize(record.page_count));
  }
  if (next != record.pages.size() || pages_.checksum() != record.db_checksum) {
    return named(
        CorruptionError(fmt::format("the database has checksum {:016x} after it, not {:016x}",
                                    pages_.checksum(), record.db_checksum)));
  }
  if (sink_ != nullptr && record.pages.empty() && record.page_count != before) {
    // Only the size changed: SQLite learns it from a frame, so page 1 is written once more.
    ASSIGN_OR_RETURN(const ByteSpan first, pages_.Read(1));
    return sink_->AddPage(1, first, /*last=*/true, record.page_count);
  }
  return Status::Ok();
}

Status Applier::ApplyParts(const Segment& segment, const CommitRecord& record, size_t* next,
                           uint32_t before, Damage* damage) {
  const TimelineId timeline = segment.header.timeline;
  OrderedFetch<Bytes> fetch(replica_.parallelism(), kPartsAheadBytes);
  for (const PartRef& ref : record.parts) {
    fetch.Push([this, timeline, ref] { return replica_.ReadPart(timeline, ref); }, ref.size_bytes);
  }
  for (const PartRef& ref : record.parts) {
    auto part = fetch.Pop();
    Status status = part.status();
    if (part.ok()) {
      part_bytes_ += part->size();
      ++part_count_;
      status = CheckChunks(*part, ref.chunk_count);
    }
    if (status.ok()) {
      ByteReader in(*part);
      status = ApplyChunks(record, in, next, ref.chunk_count, before);
    }
    if (status.code() == StatusCode::kCorruption || status.code() == StatusCode::kNotFound) {
      *damage = {keys::Part(timeline, ref.nonce, ref.number),
                 status.code() == StatusCode::kNotFound, std::nullopt, std::nullopt};
    }
    RETURN_IF_ERROR(status);
  }
  return Status::Ok();
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
    ByteSpan bases;
    if (last - first == 1) {  // most commits: the base is taken where it lies
      if (PageHasBase(record.pages[first], before, record.flags)) {
        ASSIGN_OR_RETURN(bases, pages_.Read(record.pages[first]));
      }
    } else {
      bases_.clear();
      for (size_t i = first; i < last; ++i) {
        if (PageHasBase(record.pages[i], before, record.flags)) {
          ASSIGN_OR_RETURN(const ByteSpan base, pages_.Read(record.pages[i]));
          bases_.insert(bases_.end(), base.begin(), base.end());
        }
      }
      bases = bases_;
    }
    decoded_.resize((last - first) * page_size_);
    RETURN_IF_ERROR(decoder_.Next(in, bases, decoded_));
    for (size_t i = first; i < last; ++i) {
      const PageNumber page = record.pages[i];
      const ByteSpan content = ByteSpan(decoded_).subspan((i - first) * page_size_, page_size_);
      RETURN_IF_ERROR(pages_.Write(page, content, page <= before));
      if (sink_ != nullptr) {
        RETURN_IF_ERROR(
            sink_->AddPage(page, content, i + 1 == record.pages.size(), record.page_count));
      }
    }
    *next = last;
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
