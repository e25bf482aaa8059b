#include <algorithm>
#include <vector>

#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "tests/support/history.h"
#include "tests/support/must.h"

namespace sqlite_s3 {

ImageManifest History::MakeImage(Txid txid) {
  const State& state = At(txid);
  ImageManifest manifest;
  manifest.database_id = document_.database_id;
  manifest.timeline = timeline_;
  manifest.txid = txid;
  manifest.commit_time_us = state.time_us;
  manifest.created_us = state.time_us;
  manifest.page_size = options_.page_size;
  manifest.page_count = state.page_count;
  manifest.db_checksum = state.checksum;
  manifest.sqlite_version = 3040001;
  manifest.nonce = next_nonce_++;

  // Some pages first, as those are that changed before a copy reached them.
  std::vector<std::vector<PageNumber>> frames(1);
  std::vector<PageNumber> rest;
  for (PageNumber n = 1; n <= state.page_count; ++n) {
    if (n == LockBytePage(options_.page_size)) {
      continue;
    }
    (n % 7 == 3 && frames[0].size() < 3 ? frames[0] : rest).push_back(n);
  }
  const size_t per_frame =
      std::min(PagesPerImageFrame(options_.page_size), options_.image_frame_pages);
  for (size_t i = 0; i < rest.size(); i += per_frame) {
    frames.emplace_back(
        rest.begin() + static_cast<ptrdiff_t>(i),
        rest.begin() + static_cast<ptrdiff_t>(std::min(i + per_frame, rest.size())));
  }
  ImagePartBuilder builder(options_.page_size, options_.zstd_level);
  const auto finish_part = [&] {
    if (builder.page_count() == 0) {
      return;
    }
    ImagePartInfo part;
    part.number = static_cast<uint32_t>(manifest.parts.size());
    part.page_count = builder.page_count();
    const Bytes bytes = builder.Finish();
    part.size_bytes = bytes.size();
    part.digest = ComputeDigest(bytes);
    Must(store_.Put(keys::ImagePart(timeline_, txid, manifest.nonce, part.number), bytes).status());
    manifest.parts.push_back(part);
  };
  for (const auto& frame : frames) {
    if (frame.empty()) {
      continue;
    }
    Bytes content;
    for (PageNumber n : frame) {
      const Bytes page = PageAt(txid, n);
      content.insert(content.end(), page.begin(), page.end());
    }
    Must(builder.AddFrame(frame, content));
    if (builder.page_count() >= options_.image_part_pages) {
      finish_part();
    }
  }
  finish_part();

  Bytes hashes;
  ByteWriter writer(hashes);
  for (PageNumber n = 1; n <= state.page_count; ++n) {
    writer.U64(n == LockBytePage(options_.page_size) ? 0 : hasher_.Hash(n, PageAt(txid, n)));
  }
  manifest.hashes_size_bytes = hashes.size();
  manifest.hashes_digest = ComputeDigest(hashes);
  Must(store_.Put(keys::ImageHashes(timeline_, txid, manifest.nonce), hashes).status());
  Must(store_.Put(keys::ImageManifest(timeline_, txid), AsBytes(FormatImageManifest(manifest)))
           .status());
  return manifest;
}

}  // namespace sqlite_s3
