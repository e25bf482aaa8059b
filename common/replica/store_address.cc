#include "common/replica/store_address.h"

namespace sqlite_s3 {
namespace {

S3Addressing AddressingOf(const std::string& word) {
  if (word == "path") return S3Addressing::kPath;
  if (word == "virtual") return S3Addressing::kVirtual;
  return S3Addressing::kAuto;
}

S3Checksum ChecksumOf(const std::string& word) {
  if (word == "sha256") return S3Checksum::kSha256;
  if (word == "off") return S3Checksum::kOff;
  return S3Checksum::kCrc32c;
}

}  // namespace

StoreAddress AddressOf(const ReplicaLocation& location, StoreUse use) {
  StoreAddress address;
  address.scheme = location.scheme;
  address.path = location.path;
  address.name = location.name;
  address.create = use == StoreUse::kShip;
  address.read_only = use == StoreUse::kRead;
  address.s3 = {.bucket = location.bucket,
                .prefix = location.prefix,
                .endpoint = location.endpoint,
                .region = location.region,
                .client = location.client,
                .addressing = AddressingOf(location.addressing),
                .checksum = ChecksumOf(location.checksum),
                .ca_file = location.ca_file,
                .profile = location.profile,
                .sse = location.sse,
                .sse_kms_key_id = location.sse_kms_key_id,
                .sse_c_key_file = location.sse_c_key_file,
                .storage_class = location.storage_class,
                .tags = location.tags,
                .connect_timeout = location.connect_timeout,
                .request_timeout = location.request_timeout,
                .part_bytes = location.part_bytes,
                .upload_parallelism = location.upload_parallelism};
  return address;
}

}  // namespace sqlite_s3
