#pragma once
// ObjectStore: the contract that every driver keeps (directory, memory, S3). It knows keys and
// bytes, nothing of segments.
//
// Keys are relative to the replica's root: '/'-separated segments of [A-Za-z0-9._-], no empty
// segment, not "." or "..", at most 900 bytes in all; anything else is kInvalidArgument.
// All methods may be called from several threads at once.
//
// Errors, the same for every driver: kNotFound, kAlreadyExists (PutIfAbsent lost), kAborted
// (PutIfMatch lost), kUnimplemented (the store cannot do it), kUnavailable
// (may work if retried: only RetryingStore retries), kPermissionDenied, kResourceExhausted (store
// full), kInvalidArgument, kCorruption (the store's answer is not what it can be),
// kDeadlineExceeded, kCancelled. After an error of a write the object may be absent, the old one or
// the new one, but never a part of one.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3 {

struct PutResult {
  // The store's own clock when it took the object, microseconds since 1970 UTC; absent when the
  // store does not say. Drives the check for a paused machine (docs/FORMAT.md, the log is the
  // lock).
  std::optional<int64_t> store_time_us;
  // Names what this call stored, for PutIfMatch. Empty when the store does not say.
  std::string etag = {};
};

struct ObjectInfo {
  std::string key;
  uint64_t size_bytes = 0;
  int64_t modified_us = 0;  // by the store's clock
  // Of Head: names what is stored now, for PutIfMatch. Opaque, printable. Empty from List.
  std::string etag = {};
};

// One key that DeleteMany could not delete, and why.
struct DeleteFailure {
  std::string key;
  Status status;
};

// [offset, offset + length); a range that goes past the end yields what there is; one that starts
// at or past the end yields nothing.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // For messages and status: the URL without credentials.
  virtual std::string Describe() const = 0;
  // Whether PutIfAbsent is atomic here. False switches fencing off, loudly.
  virtual bool SupportsConditionalPut() const = 0;

  // After OK the object is durable and complete, replacing what was there.
  virtual Result<PutResult> Put(std::string_view key, ByteSpan body) = 0;
  // After OK the object is durable and complete, and this call created it. kAlreadyExists:
  // something is there (perhaps from an earlier try of ours whose answer was lost: read it and
  // compare).
  virtual Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) = 0;
  // After OK the object is durable and complete, and took the place of the one that `etag` names.
  // Atomic: of several calls with one etag, one wins. kAborted: another object is there (perhaps
  // from an earlier try of ours whose answer was lost: read it and compare). kNotFound: none is.
  // kUnimplemented: the store cannot do this atomically; nothing was written.
  virtual Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body,
                                       std::string_view etag) = 0;
  // The whole object, or `range` of it. kResourceExhausted when more than max_bytes would be
  // returned: nothing unbounded is allocated for a hostile object.
  virtual Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                            std::optional<ByteRange> range = std::nullopt) = 0;
  virtual Result<ObjectInfo> Head(std::string_view key) = 0;
  // Up to max_keys (1..1000) objects whose keys start with `prefix` and are greater than
  // `start_after`, in ascending byte order. Fewer than max_keys does not mean the end; an empty
  // page does. `prefix` may end anywhere in a key; an empty prefix lists everything.
  virtual Result<std::vector<ObjectInfo>> List(std::string_view prefix,
                                               std::string_view start_after, int max_keys) = 0;
  // OK also when there is nothing.
  virtual Status Delete(std::string_view key) = 0;
  // Deletes any number of objects, in no particular order, with as few requests as the store can.
  // Returns the keys that are still there, or may be, each with its reason; empty: all are gone. An
  // error: the call as a whole failed, and any of the objects may be gone. kInvalidArgument, with
  // nothing deleted, when one of the keys is invalid.
  virtual Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) = 0;
};

// kInvalidArgument unless `key` is as said above.
Status ValidateObjectKey(std::string_view key);
// kInvalidArgument unless a valid key could start with `prefix`. Every driver's List refuses
// others.
Status ValidateObjectPrefix(std::string_view prefix);
// kInvalidArgument unless an etag could be so: printable, not empty, at most 256 bytes.
Status ValidateEtag(std::string_view etag);
// The first key that is invalid, or OK.
Status ValidateObjectKeys(std::span<const std::string> keys);

// DeleteMany for stores that take one key at a time: Delete, for each.
std::vector<DeleteFailure> DeleteOneByOne(ObjectStore& store, std::span<const std::string> keys);

inline constexpr int kMaxListKeys = 1000;
inline constexpr size_t kMaxEtagBytes = 256;
inline constexpr size_t kMostListed = 1'000'000;

// `found` with every object under `prefix` after `start_after`, page by page, until it returns an
// error, which is passed on; kCorruption if the store's order is not ascending (a driver or server
// that would make us miss objects).
Status ForEachListed(ObjectStore& store, std::string_view prefix, std::string_view start_after,
                     const std::function<Status(ObjectInfo)>& found);

// All of them. kResourceExhausted for more than `most`: a store may never come to an end.
Result<std::vector<ObjectInfo>> ListAll(ObjectStore& store, std::string_view prefix,
                                        std::string_view start_after = {},
                                        size_t most = kMostListed);

// For drivers whose store takes text: `start_after` up to the first byte that no key can hold,
// which says all there is to say, because what follows can only put it before or after all keys
// that go on from there.
std::string StartAfterText(std::string_view start_after);

}  // namespace sqlite_s3
