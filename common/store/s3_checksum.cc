#include "common/store/s3_checksum.h"

#include <algorithm>

#include "common/base/crc32c.h"
#include "common/store/s3_digest.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

// Of parts it is a checksum of their checksums, "...-7", which says nothing about the whole.
bool IsOfWhole(std::string_view checksum) {
  return !checksum.empty() && checksum.find('-') == std::string_view::npos;
}

// "\"<32 hex digits>\"" -> the digits, else empty.
std::string_view Md5Of(std::string_view etag) {
  if (etag.size() != 34 || etag.front() != '"' || etag.back() != '"') {
    return {};
  }
  etag = etag.substr(1, 32);
  return std::all_of(etag.begin(), etag.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); })
             ? etag
             : std::string_view();
}

}  // namespace

std::string Crc32cBase64(ByteSpan bytes) {
  uint8_t crc[4];
  StoreBe32(crc, Crc32c(bytes));
  return Base64Encode(crc);
}

UploadChecksum ChecksumOf(ByteSpan body, S3Checksum kind, bool tls) {
  UploadChecksum out;
  if (kind == S3Checksum::kCrc32c) {
    out.header = "x-amz-checksum-crc32c";
    out.value = Crc32cBase64(body);
    out.payload_hash = tls ? std::string(kUnsignedPayload) : Sha256Hex(body);
    return out;
  }
  const Sha256Hash hash = Sha256(body);
  out.payload_hash = HexEncode(hash);
  if (kind == S3Checksum::kSha256) {
    out.header = "x-amz-checksum-sha256";
    out.value = Base64Encode(hash);
  }
  return out;
}

const char* ChecksumAlgorithm(S3Checksum kind) {
  switch (kind) {
    case S3Checksum::kCrc32c:
      return "CRC32C";
    case S3Checksum::kSha256:
      return "SHA256";
    case S3Checksum::kOff:
      break;
  }
  return "";
}

Status CheckBody(const HttpResponse& response, const std::string& what) {
  auto compare = [&](const char* name, std::string_view stored, const std::string& got) {
    if (stored == got) {
      return Status::Ok();
    }
    return CorruptionError(what + ": the " + std::to_string(response.body.size()) +
                           " bytes that came have " + name + " " + got + ", not what the store " +
                           "says of them, hint: the object is damaged, or was on its way; "
                           "checksum=off for a store that says what is not so");
  };
  if (auto crc = response.Header("x-amz-checksum-crc32c"); IsOfWhole(crc)) {
    return compare("CRC-32C", crc, Crc32cBase64(response.body));
  }
  if (auto sha = response.Header("x-amz-checksum-sha256"); IsOfWhole(sha)) {
    return compare("SHA-256", sha, Base64Encode(Sha256(response.body)));
  }
  const std::string_view md5 = Md5Of(response.Header("etag"));
  const bool other_kind =
      response.Header("x-amz-server-side-encryption").starts_with("aws:") ||
      !response.Header("x-amz-server-side-encryption-customer-algorithm").empty();
  if (md5.empty() || other_kind) {
    return Status::Ok();
  }
  const auto got = Md5Hex(response.body);  // nothing where MD5 is forbidden
  return got ? compare("MD5", md5, *got) : Status::Ok();
}

}  // namespace sqlite_s3
