#include "common/format/keys.h"

#include <fmt/format.h>

#include "common/base/ascii.h"

namespace sqlite_s3::keys {
namespace {

constexpr size_t kMaxMarkName = 100;

std::string Line(TimelineId timeline, std::string_view rest) {
  return fmt::format("{:08x}/{}", timeline.value, rest);
}

// Takes a key apart from the left. Once something does not fit, ok() is false for good.
class KeyReader {
 public:
  explicit KeyReader(std::string_view key) : rest_(key) {}

  KeyReader& Literal(std::string_view text) {
    ok_ = ok_ && rest_.starts_with(text);
    if (ok_) {
      rest_.remove_prefix(text.size());
    }
    return *this;
  }
  uint64_t Hex(size_t digits) {
    uint64_t value = 0;
    ok_ = ok_ && rest_.size() >= digits;
    for (size_t i = 0; ok_ && i < digits; ++i) {
      char c = rest_[i];
      if (c >= '0' && c <= '9') {
        value = value << 4 | static_cast<uint64_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        value = value << 4 | static_cast<uint64_t>(c - 'a' + 10);
      } else {
        ok_ = false;
      }
    }
    if (!ok_) {
      return 0;
    }
    rest_.remove_prefix(digits);
    return value;
  }
  // 0 means "none": no key has it.
  TimelineId Timeline() {
    TimelineId timeline{static_cast<uint32_t>(Hex(8))};
    ok_ = ok_ && timeline.value != 0;
    return timeline;
  }
  sqlite_s3::Txid Txid() {
    sqlite_s3::Txid txid{Hex(16)};
    ok_ = ok_ && txid.value != 0;
    return txid;
  }
  bool AtEnd() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

std::string Replica() { return "replica.json"; }
std::string TimelinesPrefix() { return "timelines/"; }
std::string TimelineFile(TimelineId timeline) {
  return fmt::format("timelines/{:08x}.json", timeline.value);
}
std::string LogPrefix(TimelineId timeline) { return Line(timeline, "log/"); }
std::string LogSegment(TimelineId timeline, Txid first) {
  return fmt::format("{:08x}/log/{:016x}.seg", timeline.value, first.value);
}
std::string PartPrefix(TimelineId timeline) { return Line(timeline, "part/"); }
std::string Part(TimelineId timeline, uint64_t nonce, uint32_t number) {
  return fmt::format("{:08x}/part/{:016x}-{:08x}", timeline.value, nonce, number);
}
std::string RollupPrefix(TimelineId timeline) { return Line(timeline, "rollup/"); }
std::string Rollup(TimelineId timeline, Txid first, Txid last) {
  return fmt::format("{:08x}/rollup/{:016x}-{:016x}.seg", timeline.value, first.value, last.value);
}
std::string ImagesPrefix(TimelineId timeline) { return Line(timeline, "image/"); }
std::string ImagePrefix(TimelineId timeline, Txid txid) {
  return fmt::format("{:08x}/image/{:016x}/", timeline.value, txid.value);
}
std::string ImageManifest(TimelineId timeline, Txid txid) {
  return ImagePrefix(timeline, txid) + "manifest.json";
}
std::string ImagePart(TimelineId timeline, Txid txid, uint64_t nonce, uint32_t number) {
  return ImagePrefix(timeline, txid) + fmt::format("{:016x}-{:08x}.part", nonce, number);
}
std::string ImageHashes(TimelineId timeline, Txid txid, uint64_t nonce) {
  return ImagePrefix(timeline, txid) + fmt::format("{:016x}.hashes", nonce);
}
std::string MarksPrefix() { return "marks/"; }
std::string Mark(std::string_view name) { return fmt::format("marks/{}.json", name); }

Status ValidateMarkName(std::string_view name) {
  bool good = !name.empty() && name.size() <= kMaxMarkName && name.front() != '.';
  for (char c : name) {
    good = good && (IsAlphanumeric(c) || c == '.' || c == '_' || c == '-');
  }
  if (!good) {
    return InvalidArgumentError(
        fmt::format("not a mark's name: '{}', hint: 1 to {} of A-Z a-z 0-9 . _ -, not starting "
                    "with a dot",
                    name.substr(0, kMaxMarkName), kMaxMarkName));
  }
  return Status::Ok();
}

std::optional<TimelineId> ParseTimelineFile(std::string_view key) {
  KeyReader in(key);
  TimelineId timeline = in.Literal("timelines/").Timeline();
  return in.Literal(".json").AtEnd() ? std::optional(timeline) : std::nullopt;
}

std::optional<LogKey> ParseLogSegment(std::string_view key) {
  KeyReader in(key);
  LogKey out;
  out.timeline = in.Timeline();
  out.first = in.Literal("/log/").Txid();
  return in.Literal(".seg").AtEnd() ? std::optional(out) : std::nullopt;
}

std::optional<PartKey> ParsePart(std::string_view key) {
  KeyReader in(key);
  PartKey out;
  out.timeline = in.Timeline();
  out.nonce = in.Literal("/part/").Hex(16);
  out.number = static_cast<uint32_t>(in.Literal("-").Hex(8));
  return in.AtEnd() ? std::optional(out) : std::nullopt;
}

std::optional<RollupKey> ParseRollup(std::string_view key) {
  KeyReader in(key);
  RollupKey out;
  out.timeline = in.Timeline();
  out.first = in.Literal("/rollup/").Txid();
  out.last = in.Literal("-").Txid();
  bool good = in.Literal(".seg").AtEnd() && out.first <= out.last;
  return good ? std::optional(out) : std::nullopt;
}

std::optional<ImageKey> ParseImageManifest(std::string_view key) {
  KeyReader in(key);
  ImageKey out;
  out.timeline = in.Timeline();
  out.txid = in.Literal("/image/").Txid();
  return in.Literal("/manifest.json").AtEnd() ? std::optional(out) : std::nullopt;
}

std::optional<ImageFileKey> ParseImagePart(std::string_view key) {
  KeyReader in(key);
  ImageFileKey out;
  out.timeline = in.Timeline();
  out.txid = in.Literal("/image/").Txid();
  out.nonce = in.Literal("/").Hex(16);
  out.number = static_cast<uint32_t>(in.Literal("-").Hex(8));
  return in.Literal(".part").AtEnd() ? std::optional(out) : std::nullopt;
}

std::optional<ImageFileKey> ParseImageHashes(std::string_view key) {
  KeyReader in(key);
  ImageFileKey out;
  out.timeline = in.Timeline();
  out.txid = in.Literal("/image/").Txid();
  out.nonce = in.Literal("/").Hex(16);
  return in.Literal(".hashes").AtEnd() ? std::optional(out) : std::nullopt;
}

std::optional<std::string> ParseMark(std::string_view key) {
  constexpr std::string_view kSuffix = ".json";
  if (!key.starts_with(MarksPrefix()) || !key.ends_with(kSuffix)) {
    return std::nullopt;
  }
  key.remove_prefix(MarksPrefix().size());
  if (key.size() < kSuffix.size()) {
    return std::nullopt;
  }
  key.remove_suffix(kSuffix.size());
  return ValidateMarkName(key).ok() ? std::optional(std::string(key)) : std::nullopt;
}

}  // namespace sqlite_s3::keys
