#pragma once
// From a store's address to a driver. Knows no replica URL: the callers parse those
// (common/config).

#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/store/object_store.h"

namespace sqlite_s3 {

struct StoreAddress {
  std::string scheme = {};  // "file", "memory"
  std::string path = {};    // file
  std::string name = {};    // memory: one store per name in this process, for tests
  bool create = false;      // file: make the directory if absent (agent); else kNotFound (restore)
  bool read_only = false;   // file: refuse writes before trying
};

// kInvalidArgument for an unknown scheme, saying which are known.
Result<std::shared_ptr<ObjectStore>> OpenStore(const StoreAddress& address);

}  // namespace sqlite_s3
