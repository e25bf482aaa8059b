#pragma once
// AwsChunkedDecoder: the body format "aws-chunked", with or without signatures and trailers.
//
// Source: Amazon S3 API reference, "Signature Calculations for the Authorization Header:
// Transferring Payload in Multiple Chunks", and "... Including trailing headers". Bytes are handed
// on before their chunk's signature is known: whoever takes them publishes nothing before Finish
// said that all is well. One thread at a time; at most a line's worth of memory.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/bytes.h"
#include "server/auth/authenticate.h"
#include "server/auth/digest.h"
#include "server/auth/s3_error.h"
#include "server/http/message.h"

namespace sqlite_s3::server {

class AwsChunkedDecoder {
 public:
  using Sink = std::function<void(ByteSpan)>;
  // REQUIRES: identity.payload is one of the three chunked ones.
  AwsChunkedDecoder(const Identity& identity, Sink sink);
  // After the first error everything is ignored, and Finish says it.
  void Feed(ByteSpan bytes);
  // The error, or nothing when the body was complete.
  std::optional<S3Error> Finish();
  const Headers& trailers() const { return trailers_; }
  uint64_t decoded_bytes() const { return decoded_; }

 private:
  enum class State : uint8_t { kSize, kData, kDataEnd, kTrailer, kDone };
  void Line(std::string_view line);
  void ChunkHead(std::string_view line);
  void ChunkEnd();
  void TrailerLine(std::string_view line);
  void TrailerEnd();
  void Fail(std::string_view code, std::string message = {});

  const Identity identity_;
  const Sink sink_;
  const bool is_signed_;
  const bool has_trailer_;
  State state_ = State::kSize;
  std::string line_;
  uint64_t left_ = 0;
  uint64_t decoded_ = 0;
  bool last_ = false;
  std::string chunk_signature_;
  std::string previous_signature_;
  std::unique_ptr<StreamingDigest> hash_;
  Headers trailers_;
  std::string trailer_text_;
  std::string trailer_signature_;
  std::optional<S3Error> error_;
};

}  // namespace sqlite_s3::server
