#pragma once
// The two hashes of the format: the keyed page hash behind database checksums, and the digest that
// chains objects. The only file that includes <xxhash.h> is hash.cc; the only one with libcrypto's
// digests too.

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

// First 16 bytes of SHA-256. Names the exact bytes of an object: the chain from segment to segment,
// "is what lies under this key what I sent", parts named by a manifest.
struct Digest {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Digest&) const = default;
};
Digest ComputeDigest(ByteSpan bytes);
std::string FormatDigest(const Digest& digest);  // 32 hex digits
Result<Digest> ParseDigest(std::string_view text);

// 32 random bytes, one per replica, kept in replica.json. With them known, whoever controls blobs
// could make two pages with one hash (prototype: two 4 KiB pages in microseconds for unkeyed XXH3).
struct ChecksumKey {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const ChecksumKey&) const = default;
};

// Keyed 64-bit hash of (page number, page content). Immutable after construction; thread-safe.
class PageHasher {
 public:
  explicit PageHasher(const ChecksumKey& key);
  // The page's contribution to the database checksum. The lock-byte page contributes 0 by rule: the
  // callers skip it, see IsLockBytePage in the format.
  uint64_t Hash(PageNumber page_number, ByteSpan page) const;

 private:
  std::array<uint8_t, 192> secret_{};
  uint64_t seed_ = 0;
};

// Cryptographically random bytes from the kernel (getrandom(2)). Aborts never; kIoError when the
// kernel refuses.
Status FillRandom(std::span<uint8_t> out);

}  // namespace sqlite_s3
