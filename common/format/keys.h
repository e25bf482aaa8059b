#pragma once
// The one file that spells and parses object keys, relative to the replica's root.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3::keys {

// replica.json
std::string Replica();
// timelines/, timelines/{tl:08x}.json
std::string TimelinesPrefix();
std::string TimelineFile(TimelineId timeline);
// {tl:08x}/log/, {tl:08x}/log/{first:016x}.seg
std::string LogPrefix(TimelineId timeline);
std::string LogSegment(TimelineId timeline, Txid first);
// {tl:08x}/part/, {tl:08x}/part/{nonce:016x}-{number:08x}
std::string PartPrefix(TimelineId timeline);
std::string Part(TimelineId timeline, uint64_t nonce, uint32_t number);
// {tl:08x}/rollup/, {tl:08x}/rollup/{first:016x}-{last:016x}.seg
std::string RollupPrefix(TimelineId timeline);
std::string Rollup(TimelineId timeline, Txid first, Txid last);
// {tl:08x}/image/, {tl:08x}/image/{txid:016x}/, and below that
// manifest.json, {nonce:016x}-{number:08x}.part, {nonce:016x}.hashes
std::string ImagesPrefix(TimelineId timeline);
std::string ImagePrefix(TimelineId timeline, Txid txid);
std::string ImageManifest(TimelineId timeline, Txid txid);
std::string ImagePart(TimelineId timeline, Txid txid, uint64_t nonce, uint32_t number);
std::string ImageHashes(TimelineId timeline, Txid txid, uint64_t nonce);
// marks/, marks/{name}.json
std::string MarksPrefix();
std::string Mark(std::string_view name);

// A mark's name: 1..100 of [A-Za-z0-9._-], not starting with '.'. kInvalidArgument otherwise.
Status ValidateMarkName(std::string_view name);

// Parsers take exactly what the functions above print, else nothing; nothing also for timeline 0
// and TXID 0 (they mean "none") and for a roll-up that ends before it begins.
std::optional<TimelineId> ParseTimelineFile(std::string_view key);
struct LogKey {
  TimelineId timeline;
  Txid first;
};
std::optional<LogKey> ParseLogSegment(std::string_view key);
struct PartKey {
  TimelineId timeline;
  uint64_t nonce;
  uint32_t number;
};
std::optional<PartKey> ParsePart(std::string_view key);
struct RollupKey {
  TimelineId timeline;
  Txid first;
  Txid last;
};
std::optional<RollupKey> ParseRollup(std::string_view key);
struct ImageKey {
  TimelineId timeline;
  Txid txid;
};
std::optional<ImageKey> ParseImageManifest(std::string_view key);
// Of an image's other objects, for finding those that no manifest names. Hashes have number 0.
struct ImageFileKey {
  TimelineId timeline;
  Txid txid;
  uint64_t nonce;
  uint32_t number;
};
std::optional<ImageFileKey> ParseImagePart(std::string_view key);
std::optional<ImageFileKey> ParseImageHashes(std::string_view key);
std::optional<std::string> ParseMark(std::string_view key);

}  // namespace sqlite_s3::keys
