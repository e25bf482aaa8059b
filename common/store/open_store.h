#pragma once
// From a store's address to a driver. Knows no replica URL: the callers parse those
// (common/config).

#include <memory>
#include <string>

#include "common/base/status.h"
#include "common/store/curl_transport.h"
#include "common/store/object_store.h"
#include "common/store/s3_address.h"

namespace sqlite_s3 {

struct StoreAddress {
  std::string scheme = {};  // "file", "s3", "memory"
  std::string path = {};    // file
  std::string name = {};    // memory: one store per name in this process, for tests
  bool create = false;      // file: make the directory if absent (agent); else kNotFound (restore)
  bool read_only = false;   // file, s3: refuse writes before trying
  S3Address s3 = {};
  std::shared_ptr<SharedTransports> transports = {};  // s3; null: connections of its own
};

// kInvalidArgument for an unknown scheme, saying which are known. No request is made for s3.
Result<std::shared_ptr<ObjectStore>> OpenStore(const StoreAddress& address);

// How client=libs3 is opened, in programs that link that driver: the library that lives in
// applications does not. Called once, before the first OpenStore and on one thread.
using S3Opener = Result<std::shared_ptr<ObjectStore>> (*)(const S3Address&, bool read_only);
void RegisterLibs3(S3Opener opener);

}  // namespace sqlite_s3
