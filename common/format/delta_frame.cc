#include "common/format/delta_frame.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "common/format/fse_encoder.h"

namespace sqlite_s3 {
namespace {

constexpr uint32_t kZstdMagic = 0xFD2FB528;
constexpr size_t kMaxBlockBytes = 128 << 10;  // RFC 8878, section 3.1.1.2.4
constexpr int kMinWindowLog = 10;
constexpr size_t kFrameHeaderBytes = 6;  // magic, descriptor, window
constexpr size_t kBlockHeaderBytes = 3;

// A sequence costs about three bytes.
constexpr size_t kMinInPlace = 4;
constexpr size_t kMinMoved = 6;
constexpr size_t kMaxMatch = 65'000;  // what one code can say is 65,538
// Bytes found nowhere near, in a row, before the bases are indexed to look for moved ones.
constexpr size_t kLostBytes = 16;
constexpr size_t kIndexStep = 4;
constexpr int kHashLog = 13;
// An array of 2-byte cell pointers moves by an entry or two.
constexpr ptrdiff_t kShifts[] = {-2, 2, -4, 4};

size_t HashOf(uint32_t four_bytes) { return (four_bytes * 2654435761u) >> (32 - kHashLog); }

// How many of the first n bytes are the same.
size_t SameBytes(const uint8_t* a, const uint8_t* b, size_t n) {
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {  // by far most of a page
    const uint64_t differs = (LoadLe64(a + i) ^ LoadLe64(b + i)) |
                             (LoadLe64(a + i + 8) ^ LoadLe64(b + i + 8)) |
                             (LoadLe64(a + i + 16) ^ LoadLe64(b + i + 16)) |
                             (LoadLe64(a + i + 24) ^ LoadLe64(b + i + 24));
    if (differs != 0) {
      break;
    }
  }
  for (; i + 8 <= n; i += 8) {
    const uint64_t differs = LoadLe64(a + i) ^ LoadLe64(b + i);
    if (differs != 0) {
      return i + static_cast<size_t>(std::countr_zero(differs)) / 8;
    }
  }
  while (i < n && a[i] == b[i]) {
    ++i;
  }
  return i;
}

// How many bytes before both places are the same, at most n.
size_t SameBefore(const uint8_t* a, const uint8_t* b, size_t n) {
  size_t i = 0;
  while (i < n && *(a - i - 1) == *(b - i - 1)) {
    ++i;
  }
  return i;
}

}  // namespace

DeltaFrameWriter::DeltaFrameWriter()
    : table_(size_t{1} << kHashLog), bases_table_(size_t{1} << kHashLog) {
  static_assert(kMaxBlockBytes / kIndexStep <= UINT16_MAX + 1);
}

// The same page comes again and again, with little that is new: only that is indexed. (The whole of
// a page of 4 KiB takes a microsecond, an eighth of all that its commit costs.)
void DeltaFrameWriter::IndexBases(ByteSpan bases) {
  auto index = [&](size_t at) {
    bases_table_[HashOf(LoadLe32(&bases[at]))] = static_cast<uint16_t>(at / kIndexStep);
  };
  size_t at = 0;
  if (indexed_.size() == bases.size()) {
    while (at < bases.size()) {
      const size_t same = SameBytes(&indexed_[at], &bases[at], bases.size() - at);
      at = (at + same) / kIndexStep * kIndexStep;
      if (at + 4 > bases.size()) {
        break;
      }
      std::memcpy(&indexed_[at], &bases[at], kIndexStep);
      index(at);
      at += kIndexStep;
    }
    return;
  }
  indexed_.assign(bases.begin(), bases.end());
  for (; at + 4 <= bases.size(); at += kIndexStep) {
    index(at);
  }
}

// Ends the literals at `at` and copies `length` bytes from `offset` before.
void DeltaFrameWriter::Take(ByteSpan pages, size_t at, size_t length, size_t offset) {
  const uint32_t literals = static_cast<uint32_t>(at - anchor_);
  const uint32_t distance = static_cast<uint32_t>(offset);
  // Without literals in between, a repeated first offset would be part of the match before, so the
  // codes mean the second, the third, and the first less one (never a place of ours).
  uint32_t code = distance + 3;
  size_t which = 3;
  for (size_t i = literals == 0 ? 1 : 0; i < 3; ++i) {
    if (recent_[i] == distance) {
      which = i;
      code = static_cast<uint32_t>(literals == 0 ? i : i + 1);
      break;
    }
  }
  for (size_t i = std::min<size_t>(which, 2); i > 0; --i) {
    recent_[i] = recent_[i - 1];
  }
  recent_[0] = distance;
  literals_.insert(literals_.end(), pages.begin() + static_cast<ptrdiff_t>(anchor_),
                   pages.begin() + static_cast<ptrdiff_t>(at));
  sequences_.push_back({literals, static_cast<uint32_t>(length), code});
  anchor_ = at + length;
}

// Bytes of `at` that are not in place: the cell pointers after an insert, moved cells, and what an
// index repeats of its table's row. REQUIRES: four bytes are left.
DeltaFrameWriter::Match DeltaFrameWriter::FindMoved(ByteSpan pages, ByteSpan bases, size_t at) {
  const uint8_t* here = &pages[at];
  const size_t left = pages.size() - at;
  const uint32_t four = LoadLe32(here);
  Match best;
  for (ptrdiff_t shift : kShifts) {
    const ptrdiff_t from = static_cast<ptrdiff_t>(at) + shift;
    if (from < 0 || static_cast<size_t>(from) + 4 > bases.size()) {
      continue;
    }
    const size_t place = static_cast<size_t>(from);
    if (LoadLe32(&bases[place]) == four) {
      const size_t length = SameBytes(here, &bases[place], std::min(bases.size() - place, left));
      if (length > best.length) {
        best = {length, bases.size() + at - place, 0};
      }
    }
  }
  const size_t hash = HashOf(four);
  const uint32_t found = std::exchange(table_[hash], epoch_ + static_cast<uint32_t>(at));
  if (best.length >= 8) {
    return best;
  }
  // Of this frame's own pages, or else of the bases. A place of ours that is not behind us is from
  // before the bases were indexed, when we came by here first.
  auto consider = [&](ByteSpan side, size_t place, size_t offset) {
    if (place + 4 > side.size() || LoadLe32(&side[place]) != four) {
      return false;
    }
    const size_t length = SameBytes(here, &side[place], std::min(side.size() - place, left));
    const size_t back = SameBefore(here, &side[place], std::min(at - anchor_, place));
    if (length + back >= kMinMoved && length + back > best.length + 1) {
      best = {length, offset, back};
    }
    return true;
  };
  const bool ours = found >= epoch_ && found - epoch_ < at;
  if (!ours || !consider(pages, found - epoch_, at - (found - epoch_))) {
    const size_t place = size_t{bases_table_[hash]} * kIndexStep;
    consider(bases, place, bases.size() + at - place);
  }
  return best;
}

bool DeltaFrameWriter::FindSequences(ByteSpan pages, ByteSpan bases, const Limits& limits) {
  sequences_.clear();
  literals_.clear();
  anchor_ = 0;
  recent_[0] = 1;  // RFC 8878, section 3.1.1.5
  recent_[1] = 4;
  recent_[2] = 8;
  bool indexed = false;
  size_t at = 0;
  while (at < pages.size()) {
    if (literals_.size() + (at - anchor_) > limits.literals ||
        sequences_.size() > limits.sequences) {
      return false;
    }
    if (at < bases.size()) {
      const size_t most = std::min({bases.size() - at, pages.size() - at, kMaxMatch});
      const size_t length = SameBytes(&pages[at], &bases[at], most);
      if (length >= kMinInPlace) {
        Take(pages, at, length, bases.size());
        at = anchor_;
        continue;
      }
    }
    if (pages.size() - at < 4) {
      ++at;
      continue;
    }
    if (!indexed && at - anchor_ >= kLostBytes) {
      IndexBases(bases);
      indexed = true;
      at = anchor_;
      continue;
    }
    Match match = FindMoved(pages, bases, at);
    if (match.length + match.back >= kMinInPlace + 1) {
      at -= match.back;
      Take(pages, at, std::min(match.length + match.back, kMaxMatch), match.offset);
      at = anchor_;
    } else {
      ++at;
    }
  }
  literals_.insert(literals_.end(), pages.begin() + static_cast<ptrdiff_t>(anchor_), pages.end());
  return literals_.size() <= limits.literals && !sequences_.empty();
}

// RFC 8878, section 3.1.1.3: literals, then sequences, coded from the last to the first.
size_t DeltaFrameWriter::WriteBlock(uint8_t* out) const {
  const uint8_t* const begin = out;
  const size_t n = literals_.size();
  auto put = [&](size_t byte) { *out++ = static_cast<uint8_t>(byte); };
  if (n < 32) {  // raw literals, with their size in 5, 12 or 20 bits
    put(n << 3);
  } else if (n < 4096) {
    put(1 << 2 | n << 4);
    put(n >> 4);
  } else {
    put(3 << 2 | n << 4);
    put(n >> 4);
    put(n >> 12);
  }
  out = std::copy(literals_.begin(), literals_.end(), out);
  const size_t count = sequences_.size();
  if (count < 128) {
    put(count);
  } else {
    put((count >> 8) + 128);
    put(count);
  }
  put(0);  // all three tables are the predefined ones
  fse::BitWriter bits(out);
  auto extra = [&](const Sequence& s, uint32_t literals_code, uint32_t match_code,
                   uint32_t offset_code) {
    bits.Add(s.literals, fse::LiteralsExtraBits(literals_code));
    bits.Add(s.match - 3, fse::MatchExtraBits(match_code));
    bits.Flush();
    bits.Add(s.offset_code, offset_code);
    bits.Flush();
  };
  const Sequence& last = sequences_.back();
  const uint32_t last_literals = fse::LiteralsCode(last.literals);
  const uint32_t last_match = fse::MatchCode(last.match - 3);
  const uint32_t last_offset = fse::OffsetCode(last.offset_code);
  fse::EncodingState literals_state(fse::LiteralsTable(), last_literals);
  fse::EncodingState match_state(fse::MatchTable(), last_match);
  fse::EncodingState offset_state(fse::OffsetTable(), last_offset);
  extra(last, last_literals, last_match, last_offset);
  for (size_t i = count - 1; i-- > 0;) {
    const Sequence& s = sequences_[i];
    const uint32_t literals_code = fse::LiteralsCode(s.literals);
    const uint32_t match_code = fse::MatchCode(s.match - 3);
    const uint32_t offset_code = fse::OffsetCode(s.offset_code);
    offset_state.Encode(offset_code, bits);
    match_state.Encode(match_code, bits);
    literals_state.Encode(literals_code, bits);
    bits.Flush();
    extra(s, literals_code, match_code, offset_code);
  }
  match_state.Finish(bits);
  offset_state.Finish(bits);
  literals_state.Finish(bits);
  return static_cast<size_t>(bits.Finish() - begin);
}

std::optional<ByteSpan> DeltaFrameWriter::Write(ByteSpan pages, ByteSpan bases,
                                                const Limits& limits) {
  if (bases.empty() || bases.size() > pages.size() || pages.size() > kMaxBlockBytes) {
    return std::nullopt;
  }
  constexpr uint32_t kLastEpoch = 1u << 28;
  if (epoch_ > kLastEpoch) {
    std::fill(table_.begin(), table_.end(), 0);
    epoch_ = 1;
  }
  const bool found = FindSequences(pages, bases, limits);
  epoch_ += static_cast<uint32_t>(pages.size());
  // No sequence takes more than 9 bytes: 16 + 16 + 18 bits of extra, and 17 of states.
  const size_t worst = literals_.size() + sequences_.size() * 9 + 32;
  if (!found || worst > std::max<size_t>(pages.size(), 1024) || sequences_.size() >= 0x7F00) {
    return std::nullopt;
  }
  frame_.resize(kFrameHeaderBytes + kBlockHeaderBytes + worst);
  const int window_log =
      std::max(kMinWindowLog, static_cast<int>(std::bit_width(pages.size() + bases.size() - 1)));
  StoreLe32(frame_.data(), kZstdMagic);
  frame_[4] = 0;  // no content size, no checksum, no dictionary
  frame_[5] = static_cast<uint8_t>((window_log - kMinWindowLog) << 3);
  const size_t size = WriteBlock(frame_.data() + kFrameHeaderBytes + kBlockHeaderBytes);
  if (size >= pages.size()) {
    return std::nullopt;  // a compressed block is smaller than what it stands for
  }
  const size_t header = 1 | 2 << 1 | size << 3;  // last block, compressed
  for (size_t i = 0; i < kBlockHeaderBytes; ++i) {
    frame_[kFrameHeaderBytes + i] = static_cast<uint8_t>(header >> (8 * i));
  }
  return ByteSpan(frame_.data(), kFrameHeaderBytes + kBlockHeaderBytes + size);
}

}  // namespace sqlite_s3
