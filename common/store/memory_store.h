#pragma once
// MemoryStore: an ObjectStore in memory, for tests. Thread-safe.

#include <map>
#include <mutex>

#include "common/base/clock.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

class MemoryStore : public ObjectStore {
 public:
  // `clock` gives the store's time; must outlive the store.
  explicit MemoryStore(std::string name, const Clock& clock = Clock::Real());

  // The store of that name, one per process, made on first use and kept until the process ends.
  static std::shared_ptr<MemoryStore> Shared(const std::string& name);

  std::string Describe() const override;
  bool SupportsConditionalPut() const override { return true; }
  Result<PutResult> Put(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfAbsent(std::string_view key, ByteSpan body) override;
  Result<PutResult> PutIfMatch(std::string_view key, ByteSpan body, std::string_view etag) override;
  Result<Bytes> Get(std::string_view key, uint64_t max_bytes,
                    std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(std::string_view key) override;
  Result<std::vector<ObjectInfo>> List(std::string_view prefix, std::string_view start_after,
                                       int max_keys) override;
  Status Delete(std::string_view key) override;
  Result<std::vector<DeleteFailure>> DeleteMany(std::span<const std::string> keys) override;

 private:
  struct Object {
    Bytes body;
    int64_t modified_us = 0;
    uint64_t version = 0;  // of all that was ever put here
    std::string Etag() const { return "v" + std::to_string(version); }
  };
  Status NotFound(std::string_view key) const;
  // REQUIRES: mutex_ is held.
  PutResult Store(std::string_view key, Bytes body);

  const std::string name_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, Object, std::less<>> objects_;  // guarded by mutex_
  uint64_t last_version_ = 0;                           // guarded by mutex_
};

}  // namespace sqlite_s3
