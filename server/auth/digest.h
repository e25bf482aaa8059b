#pragma once
// Streaming digests of bodies: MD5, SHA-1, SHA-256 (libcrypto) and the CRCs that S3 knows; base64.
// Distinct objects may be used by distinct threads.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/bytes.h"

namespace sqlite_s3::server {

enum class DigestKind : uint8_t { kMd5, kSha1, kSha256, kCrc32, kCrc32c, kCrc64Nvme };

class StreamingDigest {
 public:
  virtual ~StreamingDigest() = default;
  virtual void Update(ByteSpan bytes) = 0;
  // Big-endian for CRCs, as S3 writes them. Once only.
  virtual Bytes Finish() = 0;
};
std::unique_ptr<StreamingDigest> NewDigest(DigestKind kind);
Bytes DigestOf(DigestKind kind, ByteSpan bytes);
size_t DigestSize(DigestKind kind);

// "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256" in any case; nothing for others.
std::optional<DigestKind> ParseChecksumAlgorithm(std::string_view name);
const char* ChecksumAlgorithmName(DigestKind kind);
inline bool IsCrc(DigestKind kind) { return kind >= DigestKind::kCrc32; }

// The CRC of A followed by B out of theirs. REQUIRES: IsCrc(kind), both of the right size.
Bytes CombineCrc(DigestKind kind, const Bytes& a, const Bytes& b, uint64_t size_of_b);

std::string HmacSha1Base64(std::string_view key, std::string_view message);
std::string EncodeBase64(ByteSpan bytes);
// Nothing unless canonical base64 with padding.
std::optional<Bytes> DecodeBase64(std::string_view text);

}  // namespace sqlite_s3::server
