#include "common/base/hash.h"

#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
#include <openssl/sha.h>
#include <sys/random.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sqlite_s3 {

Digest ComputeDigest(ByteSpan bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> full{};
  SHA256(bytes.data(), bytes.size(), full.data());
  Digest digest;
  std::copy_n(full.begin(), digest.bytes.size(), digest.bytes.begin());
  return digest;
}

std::string FormatDigest(const Digest& digest) { return HexEncode(digest.bytes); }

Result<Digest> ParseDigest(std::string_view text) {
  auto bytes = HexDecode(text);
  Digest digest;
  if (!bytes || bytes->size() != digest.bytes.size()) {
    return InvalidArgumentError("not a digest: '" + std::string(text.substr(0, 64)) + "'");
  }
  std::copy(bytes->begin(), bytes->end(), digest.bytes.begin());
  return digest;
}

PageHasher::PageHasher(const ChecksumKey& key) {
  static_assert(sizeof(secret_) >= XXH3_SECRET_SIZE_MIN);
  (void)XXH3_generateSecret(secret_.data(), secret_.size(), key.bytes.data(),
                            key.bytes.size());  // fails only for sizes fixed above
  seed_ =
      XXH3_64bits_withSecret(key.bytes.data(), key.bytes.size(), secret_.data(), secret_.size());
}

uint64_t PageHasher::Hash(PageNumber page_number, ByteSpan page) const {
  uint8_t mixed[12];
  StoreLe64(mixed,
            XXH3_64bits_withSecret(page.data(), page.size(), secret_.data(), secret_.size()));
  StoreLe32(mixed + 8, page_number);
  return XXH3_64bits_withSeed(mixed, sizeof(mixed), seed_);
}

Status FillRandom(std::span<uint8_t> out) {
  while (!out.empty()) {
    ssize_t n = getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      if (errno == EINTR) {
        continue;
      }
      return IoError(std::string("getrandom: ") + std::strerror(errno));
    }
    out = out.subspan(static_cast<size_t>(n));
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
