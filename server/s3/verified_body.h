#pragma once
// VerifiedBody: the bytes of a request, decoded from aws-chunked when they come so, and checked
// against everything that the request says of them: length, the signature's SHA-256, Content-MD5,
// x-amz-checksum-* in headers or trailers. Whoever takes the bytes publishes nothing before Finish
// has said that all is true. One thread at a time.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/auth/aws_chunked.h"
#include "server/auth/digest.h"
#include "server/s3/call.h"
#include "server/storage/object.h"

namespace sqlite_s3::server {

class VerifiedBody {
 public:
  using Sink = std::function<void(ByteSpan)>;
  // What is wrong with the headers is said here, before any byte. `computed` is a checksum to
  // compute although the request names none. With `needs_length` a body without an announced
  // length is refused.
  static S3Result<std::unique_ptr<VerifiedBody>> Create(const Call& call, Sink sink,
                                                        std::optional<DigestKind> computed = {},
                                                        bool needs_length = true);
  void Feed(ByteSpan bytes);
  std::optional<S3Error> Finish();

  // After Finish said nothing:
  const std::string& md5_hex() const { return md5_hex_; }
  uint64_t size_bytes() const { return size_; }
  // FULL_OBJECT; its algorithm is empty when there is none.
  const Checksum& checksum() const { return checksum_; }

 private:
  VerifiedBody() = default;
  std::optional<S3Error> ReadHeaders(const Call& call, std::optional<DigestKind> computed,
                                     bool needs_length);
  std::optional<S3Error> ReadChecksumHeaders(const Call& call);
  void Take(ByteSpan bytes);
  std::optional<S3Error> CheckDigests();

  Sink sink_;
  std::optional<uint64_t> expected_size_;
  std::optional<Bytes> expected_md5_;
  std::string expected_sha256_;  // hex
  std::optional<DigestKind> algorithm_;
  std::string expected_checksum_;  // base64; empty: in the trailer, or only computed
  std::string trailer_name_;
  std::unique_ptr<StreamingDigest> md5_;
  std::unique_ptr<StreamingDigest> sha256_;
  std::unique_ptr<StreamingDigest> checksum_digest_;
  std::unique_ptr<AwsChunkedDecoder> chunked_;
  uint64_t size_ = 0;
  std::string md5_hex_;
  Checksum checksum_;
};

// An exchange that collects a document of at most kMaxDocumentBytes, verifies it and answers.
std::unique_ptr<Exchange> ReadDocument(std::shared_ptr<Call> call,
                                       std::function<Answer(Call&, const std::string&)> answer);
// An exchange whose answer is known, or is an error.
std::unique_ptr<Exchange> AnswerWith(const Call& call, Answer answer);
Response ToResponse(const Call& call, Answer answer);

// "x-amz-checksum-crc32c" of CRC32C.
std::string ChecksumHeaderName(std::string_view algorithm);

}  // namespace sqlite_s3::server
