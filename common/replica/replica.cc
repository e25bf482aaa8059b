#include "common/replica/replica.h"

#include <algorithm>
#include <utility>

#include "common/format/image_part.h"
#include "common/format/keys.h"
#include "common/replica/ordered_fetch.h"

namespace sqlite_s3 {
namespace {

// Small documents: as many as are fetched at once may be held at once.
constexpr uint64_t kDocumentsAheadBytes = 64 << 20;

Result<std::string> GetDocument(ObjectStore& store, const std::string& key) {
  ASSIGN_OR_RETURN(Bytes bytes, store.Get(key, kMaxDocumentBytes));
  return std::string(AsText(bytes));
}

Status WrongPlace(const std::string& key, const std::string& what) {
  return CorruptionError(key + ": " + what + "; it belongs elsewhere");
}

Result<ImageManifest> ReadManifest(ObjectStore& store, const ReplicaDocument& replica,
                                   const keys::ImageKey& place) {
  const std::string key = keys::ImageManifest(place.timeline, place.txid);
  ASSIGN_OR_RETURN(std::string text, GetDocument(store, key));
  ASSIGN_OR_RETURN(ImageManifest m, ParseImageManifest(text, key));
  if (m.timeline != place.timeline || m.txid != place.txid) {
    return WrongPlace(key, "names another timeline or TXID");
  }
  if (m.database_id != replica.database_id) {
    return WrongPlace(key, "is of database " + FormatDatabaseId(m.database_id));
  }
  if (m.page_size != replica.page_size) {
    return WrongPlace(key, "has page size " + std::to_string(m.page_size));
  }
  return m;
}

// The image that a key under {tl}/image/ belongs to, whatever of it the key names.
std::optional<keys::ImageKey> ImageOfKey(TimelineId timeline, const std::string& key) {
  const size_t dir_end = key.find('/', keys::ImagesPrefix(timeline).size());
  if (dir_end == std::string::npos) {
    return std::nullopt;
  }
  return keys::ParseImageManifest(key.substr(0, dir_end) + "/manifest.json");
}

}  // namespace

Status Replica::Open() {
  const std::string key = keys::Replica();
  auto text = GetDocument(store_, key);
  if (text.code() == StatusCode::kNotFound) {
    return NotFoundError("no replica at " + store_.Describe() + " (" + key +
                         " is missing), hint: check the address, or ship to it first");
  }
  RETURN_IF_ERROR(text.status().WithContext("read " + key));
  ASSIGN_OR_RETURN(document_, ParseReplicaDocument(*text, key));
  return Status::Ok();
}

Status Replica::Create(const ReplicaDocument& document, WriterId writer) {
  TimelineDocument first;
  first.timeline = TimelineId{1};
  first.reason = TimelineReason::kFirst;
  first.writer = writer;
  first.created_us = document.created_us;
  auto timeline = store_.PutIfAbsent(keys::TimelineFile(first.timeline),
                                     AsBytes(FormatTimelineDocument(first)));
  // One that is there is left from a creator that got no further, or raced with us: any will do,
  // replica.json decides.
  if (!timeline.ok() && timeline.code() != StatusCode::kAlreadyExists) {
    return timeline.status().WithContext("create timeline 1");
  }
  auto created = store_.PutIfAbsent(keys::Replica(), AsBytes(FormatReplicaDocument(document)));
  if (created.code() == StatusCode::kAlreadyExists) {
    return AlreadyExistsError("there is a replica at " + store_.Describe() + " already");
  }
  RETURN_IF_ERROR(created.status().WithContext("create replica.json"));
  document_ = document;
  return Status::Ok();
}

Result<std::vector<TimelineDocument>> Replica::ListTimelines() {
  ASSIGN_OR_RETURN(auto objects, ListAll(store_, keys::TimelinesPrefix()));
  std::vector<TimelineDocument> timelines;
  for (size_t n = 0;; ++n) {
    // A LIST may be older than what it lists, and a line that is not seen is where "latest" is.
    const bool listed = n < objects.size();
    if (!listed && timelines.empty()) {
      break;
    }
    const std::string key =
        listed ? objects[n].key
               : keys::TimelineFile(TimelineId{timelines.back().timeline.value + 1});
    const auto id = keys::ParseTimelineFile(key);
    if (!id) {
      continue;  // not ours
    }
    auto text = GetDocument(store_, key);
    if (!listed && text.code() == StatusCode::kNotFound) {
      break;
    }
    RETURN_IF_ERROR(text.status());
    ASSIGN_OR_RETURN(TimelineDocument line, ParseTimelineDocument(*text, key));
    if (line.timeline != *id) {
      return WrongPlace(key, "names timeline " + FormatTimeline(line.timeline));
    }
    if (line.timeline.value == 1 ? line.parent.value != 0 || line.parent_txid.value != 0
                                 : line.parent >= line.timeline || line.parent.value == 0) {
      return CorruptionError(key + ": parent timeline " + FormatTimeline(line.parent) +
                             " is not older");
    }
    if (line.timeline.value != 1) {
      const auto parent = std::find_if(timelines.begin(), timelines.end(),
                                       [&](const auto& t) { return t.timeline == line.parent; });
      if (parent == timelines.end()) {
        return NotFoundError(keys::TimelineFile(line.parent) + " is missing: timeline " +
                             FormatTimeline(line.timeline) + " comes from it");
      }
    }
    timelines.push_back(line);
  }
  if (timelines.empty()) {
    return NotFoundError(keys::TimelineFile(TimelineId{1}) + " is missing");
  }
  return timelines;
}

Result<std::vector<ImageManifest>> Replica::ListImages(TimelineId timeline,
                                                       std::vector<std::string>* problems) {
  // A page of keys may be full of one image's parts; the manifest's key sorts after them, so that
  // one LIST from there skips the rest of them.
  std::vector<keys::ImageKey> places;
  std::string start_after;
  while (true) {
    ASSIGN_OR_RETURN(auto page, store_.List(keys::ImagesPrefix(timeline), start_after, 1000));
    if (page.empty()) {
      break;
    }
    std::string next = page.back().key;
    for (const ObjectInfo& object : page) {
      if (object.key <= start_after) {
        return CorruptionError("LIST of " + keys::ImagesPrefix(timeline) + " went back to " +
                               object.key);
      }
      const auto place = ImageOfKey(timeline, object.key);
      if (place && (places.empty() || places.back().txid < place->txid)) {
        places.push_back(*place);
      }
    }
    if (const auto last = ImageOfKey(timeline, next)) {
      next = std::max(next, keys::ImageManifest(last->timeline, last->txid));
    }
    start_after = std::move(next);
  }

  OrderedFetch<ImageManifest> fetch(parallelism_, kDocumentsAheadBytes);
  for (const keys::ImageKey& place : places) {
    fetch.Push([this, place] { return ReadManifest(store_, document_, place); }, 1 << 20);
  }
  std::vector<ImageManifest> images;
  for (const keys::ImageKey& place : places) {
    auto image = fetch.Pop();
    if (image.ok()) {
      images.push_back(std::move(*image));
    } else if (image.code() == StatusCode::kCorruption) {
      if (problems) {
        problems->push_back(image.status().message());
      }
    } else if (image.code() != StatusCode::kNotFound) {  // not there: an image being made
      return image.status().WithContext("read " + keys::ImageManifest(place.timeline, place.txid));
    }
  }
  return images;
}

Result<Bytes> Replica::ReadSized(const std::string& key, uint64_t size_bytes) {
  auto bytes = store_.Get(key, size_bytes);
  if (bytes.code() == StatusCode::kNotFound) {
    return NotFoundError(key + " is missing");
  }
  if (bytes.code() == StatusCode::kResourceExhausted) {
    return CorruptionError(key + ": is larger than the " + std::to_string(size_bytes) +
                           " bytes it must have");
  }
  RETURN_IF_ERROR(bytes.status().WithContext("read " + key));
  if (bytes->size() != size_bytes) {
    return CorruptionError(key + ": has " + std::to_string(bytes->size()) + " bytes, not " +
                           std::to_string(size_bytes));
  }
  return bytes;
}

Result<Bytes> Replica::ReadChecked(const std::string& key, uint64_t size_bytes,
                                   const Digest& digest) {
  ASSIGN_OR_RETURN(Bytes bytes, ReadSized(key, size_bytes));
  if (ComputeDigest(bytes) != digest) {
    return CorruptionError(key + ": its digest is not the one it was written with");
  }
  return bytes;
}

Result<std::vector<uint64_t>> Replica::ReadImageHashes(const ImageManifest& image) {
  const std::string key = keys::ImageHashes(image.timeline, image.txid, image.nonce);
  if (image.hashes_size_bytes != uint64_t{image.page_count} * 8) {
    return CorruptionError(keys::ImageManifest(image.timeline, image.txid) +
                           ": the size of the page hashes does not fit the page count");
  }
  ASSIGN_OR_RETURN(Bytes bytes, ReadChecked(key, image.hashes_size_bytes, image.hashes_digest));
  std::vector<uint64_t> hashes(image.page_count);
  for (size_t i = 0; i < hashes.size(); ++i) {
    hashes[i] = LoadLe64(bytes.data() + i * 8);
  }
  return hashes;
}

Result<Bytes> Replica::ReadImagePartUnchecked(const ImageManifest& image,
                                              const ImagePartInfo& part) {
  const std::string key = keys::ImagePart(image.timeline, image.txid, image.nonce, part.number);
  if (part.size_bytes > kMaxImagePartBytes) {
    return CorruptionError(key + ": is said to have " + std::to_string(part.size_bytes) +
                           " bytes, more than a part may have");
  }
  return ReadSized(key, part.size_bytes);
}

Result<Bytes> Replica::ReadImagePart(const ImageManifest& image, const ImagePartInfo& part) {
  ASSIGN_OR_RETURN(Bytes bytes, ReadImagePartUnchecked(image, part));
  if (ComputeDigest(bytes) != part.digest) {
    return CorruptionError(keys::ImagePart(image.timeline, image.txid, image.nonce, part.number) +
                           ": its digest is not the one it was written with");
  }
  return bytes;
}

Result<Bytes> Replica::ReadPart(TimelineId timeline, const PartRef& part) {
  const std::string key = keys::Part(timeline, part.nonce, part.number);
  if (part.size_bytes > kMaxSegmentBytes) {
    return CorruptionError(key + ": is said to have " + std::to_string(part.size_bytes) +
                           " bytes, more than a part may have");
  }
  return ReadChecked(key, part.size_bytes, part.digest);
}

Result<std::vector<MarkDocument>> Replica::ListMarks(std::vector<std::string>* problems) {
  ASSIGN_OR_RETURN(auto objects, ListAll(store_, keys::MarksPrefix()));
  std::vector<MarkDocument> marks;
  for (const ObjectInfo& object : objects) {
    const auto name = keys::ParseMark(object.key);
    if (!name) {
      continue;
    }
    auto mark = ReadMark(*name);
    if (mark.ok()) {
      marks.push_back(std::move(*mark));
    } else if (mark.code() == StatusCode::kCorruption) {
      if (problems) {
        problems->push_back(mark.status().message());
      }
    } else if (mark.code() != StatusCode::kNotFound) {  // removed since it was listed
      return mark.status();
    }
  }
  return marks;
}

Result<MarkDocument> Replica::ReadMark(const std::string& name) {
  RETURN_IF_ERROR(keys::ValidateMarkName(name));
  const std::string key = keys::Mark(name);
  auto text = GetDocument(store_, key);
  if (text.code() == StatusCode::kNotFound) {
    return NotFoundError("there is no mark '" + name + "', hint: `list` shows the marks");
  }
  RETURN_IF_ERROR(text.status().WithContext("read " + key));
  ASSIGN_OR_RETURN(MarkDocument mark, ParseMarkDocument(*text, key));
  if (mark.name != name) {
    return WrongPlace(key, "names mark '" + mark.name + "'");
  }
  return mark;
}

Status Replica::WriteMark(const MarkDocument& mark) {
  RETURN_IF_ERROR(keys::ValidateMarkName(mark.name));
  auto put = store_.PutIfAbsent(keys::Mark(mark.name), AsBytes(FormatMarkDocument(mark)));
  if (put.code() == StatusCode::kAlreadyExists) {
    ASSIGN_OR_RETURN(MarkDocument there, ReadMark(mark.name));
    if (there.timeline == mark.timeline && there.txid == mark.txid) {
      return Status::Ok();
    }
    return AlreadyExistsError("mark '" + mark.name + "' names TXID " + FormatTxid(there.txid) +
                              " of timeline " + FormatTimeline(there.timeline) +
                              ", hint: marks are never moved, choose another name");
  }
  return put.status().WithContext("write mark '" + mark.name + "'");
}

}  // namespace sqlite_s3
