#pragma once
// What makes damage on the way to and from S3 visible: the checksum that a PUT carries and the
// store compares, and the one that a GET's answer carries and we compare. Pure; thread-safe.

#include <string>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/store/http_transport.h"
#include "common/store/s3_address.h"

namespace sqlite_s3 {

std::string Crc32cBase64(ByteSpan bytes);

// What goes with a body. Over plain HTTP the signature covers its SHA-256, whatever the checksum.
// Over TLS, which nobody can change on the way, CRC-32C takes its place: the header's value is
// signed, the payload is not, and a quarter of a PUT's work is saved.
struct UploadChecksum {
  std::string header;        // "x-amz-checksum-crc32c"; empty: none
  std::string value;         // base64
  std::string payload_hash;  // for x-amz-content-sha256
};
UploadChecksum ChecksumOf(ByteSpan body, S3Checksum kind, bool tls);

// "CRC32C", as S3's documents and x-amz-checksum-algorithm name it; empty for kOff.
const char* ChecksumAlgorithm(S3Checksum kind);

// kCorruption when the answer to a GET of a whole object says that its body is another: by
// x-amz-checksum-crc32c or -sha256, else by an ETag that is the body's MD5 (not of parts, not under
// a key of KMS or the customer's, where it is something else). OK when it says nothing of the kind.
Status CheckBody(const HttpResponse& response, const std::string& what);

}  // namespace sqlite_s3
