#pragma once
// ImageRun: an image between two of its steps: what is copied and put of it so far. Of the one
// thread that makes the image.

#include <chrono>
#include <memory>
#include <string>

#include "agent/ship/page_hashes.h"
#include "agent/ship/put_aside.h"
#include "common/format/documents.h"
#include "common/store/throttled_store.h"

namespace sqlite_s3 {

struct ImageRun {
  explicit ImageRun(const ChecksumKey& checksum_key) : hasher(checksum_key) {}

  const PageHasher hasher;
  ImageManifest manifest;
  PutAside hashes;                       // of the pages copied so far
  std::unique_ptr<Throttle::Turn> turn;  // of the next object
  std::string key;                       // of the object that is to be put; empty: none
  PutAside object;                       // its bytes
  bool copied = false;                   // every page
  bool has_hashes = false, has_manifest = false;
  std::chrono::milliseconds backoff{0};
};

}  // namespace sqlite_s3
