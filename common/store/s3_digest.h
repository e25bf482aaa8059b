#pragma once
// The digests and the encoding that S3's headers want beside the signature. Pure; thread-safe.

#include <optional>
#include <string>

#include "common/base/bytes.h"

namespace sqlite_s3 {

std::string Base64Encode(ByteSpan bytes);
// Content-MD5, which some requests of S3 must carry. Nothing where the system forbids MD5 (FIPS).
std::optional<std::string> Md5Base64(ByteSpan bytes);
// As an ETag of S3 has it: 32 hex digits.
std::optional<std::string> Md5Hex(ByteSpan bytes);

}  // namespace sqlite_s3
