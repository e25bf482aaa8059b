#include "tests/support/replayer.h"

#include "common/format/image_part.h"
#include "common/replica/restore_plan.h"

namespace sqlite_s3 {
namespace {

Result<Bytes> ReadImage(Replica& replica, const ImageManifest& image) {
  Bytes db(size_t{image.page_count} * image.page_size);
  for (const ImagePartInfo& info : image.parts) {
    ASSIGN_OR_RETURN(Bytes part, replica.ReadImagePart(image, info));
    ASSIGN_OR_RETURN(auto frames, ParseImagePart(part, image.page_size, "part"));
    for (const ImageFrame& frame : frames) {
      Bytes pages(size_t{frame.page_count} * image.page_size);
      RETURN_IF_ERROR(DecodeImageFrame(part, frame, image.page_size, pages, "part"));
      size_t at = 0;
      for (const PageRun& run : frame.runs) {
        for (uint32_t i = 0; i < run.count; ++i, at += image.page_size) {
          std::copy_n(
              pages.begin() + static_cast<ptrdiff_t>(at), image.page_size,
              db.begin() + static_cast<ptrdiff_t>((size_t{run.first} + i - 1) * image.page_size));
        }
      }
    }
  }
  return db;
}

uint64_t ChecksumOf(const PageHasher& hasher, const Bytes& db, uint32_t page_size) {
  uint64_t sum = 0;
  for (size_t at = 0; at < db.size(); at += page_size) {
    auto page = static_cast<PageNumber>(at / page_size + 1);
    if (page != LockBytePage(page_size)) {
      sum ^= hasher.Hash(page, ByteSpan(db).subspan(at, page_size));
    }
  }
  return sum;
}

Status ApplyCommit(Replica& replica, TimelineId timeline, const CommitRecord& record,
                   ByteSpan chunk_data, uint32_t page_size, Bytes& db) {
  Bytes data(chunk_data.begin(), chunk_data.end());
  for (const PartRef& ref : record.parts) {
    ASSIGN_OR_RETURN(Bytes part, replica.ReadPart(timeline, ref));
    data.insert(data.end(), part.begin(), part.end());
  }
  const auto before = static_cast<uint32_t>(db.size() / page_size);
  const Bytes old = db;
  db.resize(size_t{record.page_count} * page_size);
  ByteReader in(data);
  ChunkDecoder decoder;
  const uint32_t per_chunk = PagesPerChunk(page_size);
  for (size_t first = 0; first < record.pages.size(); first += per_chunk) {
    size_t last = std::min<size_t>(first + per_chunk, record.pages.size());
    Bytes bases;
    for (size_t i = first; i < last; ++i) {
      if (PageHasBase(record.pages[i], before, record.flags)) {
        auto page = old.begin() + static_cast<ptrdiff_t>((size_t{record.pages[i]} - 1) * page_size);
        bases.insert(bases.end(), page, page + page_size);
      }
    }
    Bytes pages((last - first) * page_size);
    RETURN_IF_ERROR(decoder.Next(in, bases, pages));
    for (size_t i = first; i < last; ++i) {
      std::copy_n(pages.begin() + static_cast<ptrdiff_t>((i - first) * page_size), page_size,
                  db.begin() + static_cast<ptrdiff_t>((size_t{record.pages[i]} - 1) * page_size));
    }
  }
  return Status::Ok();
}

}  // namespace

Status ReplayAll(ObjectStore& store, std::optional<TimelineId> timeline,
                 const std::function<void(Txid, const CommitRecord&, const Bytes&)>& visit) {
  Replica replica(store);
  RETURN_IF_ERROR(replica.Open());
  ASSIGN_OR_RETURN(auto timelines, replica.ListTimelines());
  if (!timeline) {
    ASSIGN_OR_RETURN(timeline, Replica::LatestTimeline(timelines));
  }
  ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(timelines, *timeline));
  ASSIGN_OR_RETURN(auto images, ImagesOfHistory(replica, ancestry));
  if (images.empty()) {
    return NotFoundError("no image");
  }
  const ImageManifest& image = images.front();
  const PageHasher hasher(replica.document().checksum_key);
  ASSIGN_OR_RETURN(Bytes db, ReadImage(replica, image));
  const uint32_t page_size = image.page_size;
  uint64_t sum = ChecksumOf(hasher, db, page_size);
  ASSIGN_OR_RETURN(auto chain, replica.ReadChain(timelines, *timeline, image.txid, std::nullopt));
  for (const SegmentSummary& summary : chain) {
    ASSIGN_OR_RETURN(Segment segment, replica.ReadSegment(summary));
    Txid txid = summary.header.first_txid;
    for (size_t i = 0; i < segment.commits.size(); ++i, txid = txid.Next()) {
      if (txid > summary.last_txid) {
        break;
      }
      const CommitRecord& record = segment.commits[i];
      if (txid > image.txid) {
        RETURN_IF_ERROR(ApplyCommit(replica, summary.header.timeline, record, segment.chunk_data[i],
                                    page_size, db));
        sum = ChecksumOf(hasher, db, page_size);
      }
      if (txid < image.txid) {
        continue;
      }
      if (sum != record.db_checksum || db.size() != size_t{record.page_count} * page_size) {
        return CorruptionError("TXID " + FormatTxid(txid) + " replays to another checksum");
      }
      for (const ImageManifest& other : images) {
        if (other.txid == txid && txid > image.txid) {
          ASSIGN_OR_RETURN(Bytes copy, ReadImage(replica, other));
          if (copy != db) {
            return CorruptionError("the image of TXID " + FormatTxid(txid) +
                                   " is not what its commits lead to");
          }
        }
      }
      visit(txid, record, db);
    }
  }
  return Status::Ok();
}

Result<Bytes> ReplayHead(ObjectStore& store) {
  Bytes head;
  RETURN_IF_ERROR(ReplayAll(store, std::nullopt,
                            [&](Txid, const CommitRecord&, const Bytes& db) { head = db; }));
  return head;
}

}  // namespace sqlite_s3
