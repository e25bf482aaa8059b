#pragma once
// S3Address: a bucket, and how to reach it. Holds no credentials.

#include <chrono>
#include <cstdint>
#include <string>

namespace sqlite_s3 {

enum class S3Addressing {
  kAuto,     // path style at an endpoint of one's own, virtual hosts at AWS where the name allows
  kPath,     // https://host/bucket/key
  kVirtual,  // https://bucket.host/key
};

// What a PUT carries for the store to compare, and a GET's answer is compared with.
enum class S3Checksum {
  kCrc32c,
  kSha256,
  kOff,  // none of both, for stores that refuse or misuse them
};

struct S3Address {
  std::string bucket = {};
  std::string prefix = {};    // of every key; without '/' at its ends
  std::string endpoint = {};  // "https://host[:port]", "http://..."; empty: AWS in the region
  std::string region = {};    // empty: from the environment or the profile, else us-east-1
  std::string client = {};    // "libcurl" (the default), "libs3"
  S3Addressing addressing = S3Addressing::kAuto;
  S3Checksum checksum = S3Checksum::kCrc32c;
  std::string ca_file = {};         // PEM; empty: AWS_CA_BUNDLE, else the system's
  std::string profile = {};         // empty: AWS_PROFILE, else "default"
  std::string sse = {};             // "", "AES256", "aws:kms"
  std::string sse_kms_key_id = {};  // with sse=aws:kms
  std::string sse_c_key_file = {};  // 32 bytes, raw; the store does not keep this key
  std::string storage_class = {};
  std::string tags = {};  // "name=value&name=value", percent-encoded
  std::chrono::milliseconds connect_timeout{10'000};
  // Of one request, to which the time is added that its bytes take at 64 KiB/s.
  std::chrono::milliseconds request_timeout{30'000};
  uint64_t part_bytes = 16 << 20;  // of multipart uploads; larger objects are sent in parts
  int upload_parallelism = 4;      // parts of one object sent at once
};

}  // namespace sqlite_s3
