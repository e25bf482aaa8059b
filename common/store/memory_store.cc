#include "common/store/memory_store.h"

#include <algorithm>

namespace sqlite_s3 {

MemoryStore::MemoryStore(std::string name, const Clock& clock)
    : name_(std::move(name)), clock_(clock) {}

std::shared_ptr<MemoryStore> MemoryStore::Shared(const std::string& name) {
  // Never destroyed: threads may still hold stores while the process ends.
  static std::mutex& mutex = *new std::mutex;
  static auto& stores = *new std::map<std::string, std::shared_ptr<MemoryStore>>;
  std::lock_guard lock(mutex);
  std::shared_ptr<MemoryStore>& store = stores[name];
  if (store == nullptr) {
    store = std::make_shared<MemoryStore>(name);
  }
  return store;
}

std::string MemoryStore::Describe() const { return "memory:" + name_; }

Status MemoryStore::NotFound(std::string_view key) const {
  return NotFoundError("no object " + std::string(key) + " in " + Describe());
}

PutResult MemoryStore::Store(std::string_view key, Bytes body) {
  Object object{std::move(body), clock_.WallMicros(), ++last_version_};
  PutResult result{object.modified_us, object.Etag()};
  objects_.insert_or_assign(std::string(key), std::move(object));
  return result;
}

Result<PutResult> MemoryStore::Put(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  Bytes copy(body.begin(), body.end());
  std::lock_guard lock(mutex_);
  return Store(key, std::move(copy));
}

Result<PutResult> MemoryStore::PutIfAbsent(std::string_view key, ByteSpan body) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  Bytes copy(body.begin(), body.end());
  std::lock_guard lock(mutex_);
  if (objects_.contains(key)) {
    return AlreadyExistsError("object " + std::string(key) + " exists in " + Describe());
  }
  return Store(key, std::move(copy));
}

Result<PutResult> MemoryStore::PutIfMatch(std::string_view key, ByteSpan body,
                                          std::string_view etag) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  RETURN_IF_ERROR(ValidateEtag(etag));
  Bytes copy(body.begin(), body.end());
  std::lock_guard lock(mutex_);
  auto it = objects_.find(key);
  if (it == objects_.end()) {
    return NotFound(key);
  }
  if (it->second.Etag() != etag) {
    return AbortedError("object " + std::string(key) + " in " + Describe() + " is another by now");
  }
  return Store(key, std::move(copy));
}

Result<Bytes> MemoryStore::Get(std::string_view key, uint64_t max_bytes,
                               std::optional<ByteRange> range) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  std::lock_guard lock(mutex_);
  auto it = objects_.find(key);
  if (it == objects_.end()) {
    return NotFound(key);
  }
  ByteSpan body = it->second.body;
  if (range) {
    uint64_t offset = std::min<uint64_t>(range->offset, body.size());
    body = body.subspan(offset, std::min<uint64_t>(range->length, body.size() - offset));
  }
  if (body.size() > max_bytes) {
    return ResourceExhaustedError("object " + std::string(key) + " in " + Describe() +
                                  " is larger than " + std::to_string(max_bytes) + " bytes");
  }
  return Bytes(body.begin(), body.end());
}

Result<ObjectInfo> MemoryStore::Head(std::string_view key) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  std::lock_guard lock(mutex_);
  auto it = objects_.find(key);
  if (it == objects_.end()) {
    return NotFound(key);
  }
  return ObjectInfo{it->first, it->second.body.size(), it->second.modified_us, it->second.Etag()};
}

Result<std::vector<ObjectInfo>> MemoryStore::List(std::string_view prefix,
                                                  std::string_view start_after, int max_keys) {
  RETURN_IF_ERROR(ValidateObjectPrefix(prefix));
  if (max_keys < 1 || max_keys > kMaxListKeys) {
    return InvalidArgumentError("max_keys is not within 1..1000");
  }
  std::vector<ObjectInfo> page;
  std::lock_guard lock(mutex_);
  auto it = start_after < prefix ? objects_.lower_bound(prefix) : objects_.upper_bound(start_after);
  for (; it != objects_.end() && page.size() < static_cast<size_t>(max_keys); ++it) {
    if (!it->first.starts_with(prefix)) {
      break;
    }
    page.push_back({it->first, it->second.body.size(), it->second.modified_us});
  }
  return page;
}

Status MemoryStore::Delete(std::string_view key) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  std::lock_guard lock(mutex_);
  auto it = objects_.find(key);
  if (it != objects_.end()) {
    objects_.erase(it);
  }
  return {};
}

Result<std::vector<DeleteFailure>> MemoryStore::DeleteMany(std::span<const std::string> keys) {
  RETURN_IF_ERROR(ValidateObjectKeys(keys));
  std::lock_guard lock(mutex_);
  for (const std::string& key : keys) {
    objects_.erase(key);
  }
  return std::vector<DeleteFailure>{};
}

}  // namespace sqlite_s3
