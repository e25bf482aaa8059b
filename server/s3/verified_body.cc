#include "server/s3/verified_body.h"

#include <charconv>

#include "common/base/ascii.h"
#include "server/s3/answers.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kChecksumPrefix = "x-amz-checksum-";

std::optional<uint64_t> ParseLength(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

bool IsChunked(PayloadKind kind) {
  return kind == PayloadKind::kChunked || kind == PayloadKind::kChunkedTrailer ||
         kind == PayloadKind::kUnsignedChunkedTrailer;
}

class DocumentExchange : public Exchange {
 public:
  DocumentExchange(std::shared_ptr<Call> call,
                   std::function<Answer(Call&, const std::string&)> answer)
      : call_(std::move(call)), answer_(std::move(answer)) {
    S3Result<std::unique_ptr<VerifiedBody>> body = VerifiedBody::Create(
        *call_, [this](ByteSpan bytes) { Collect(bytes); }, {}, false);
    if (body.ok()) {
      body_ = std::move(body).value();
    } else {
      error_ = body.error();
    }
  }
  std::optional<Response> Early() override {
    return error_ ? std::optional<Response>(ToResponse(*call_, *error_)) : std::nullopt;
  }
  void OnBody(ByteSpan bytes) override {
    if (body_) {
      body_->Feed(bytes);
    }
  }
  Response Finish() override {
    if (!error_ && body_) {
      error_ = body_->Finish();
    }
    if (error_) {
      return ToResponse(*call_, *error_);
    }
    if (too_long_) {
      return ToResponse(*call_, MakeError("MaxMessageLengthExceeded"));
    }
    return ToResponse(*call_, answer_(*call_, text_));
  }

 private:
  void Collect(ByteSpan bytes) {
    if (too_long_ || bytes.size() > kMaxDocumentBytes - text_.size()) {
      too_long_ = true;
      return;
    }
    text_ += AsText(bytes);
  }
  std::shared_ptr<Call> call_;
  std::function<Answer(Call&, const std::string&)> answer_;
  std::unique_ptr<VerifiedBody> body_;
  std::optional<S3Error> error_;
  std::string text_;
  bool too_long_ = false;
};

}  // namespace

std::string ChecksumHeaderName(std::string_view algorithm) {
  return std::string(kChecksumPrefix) + ToLower(algorithm);
}

S3Result<std::unique_ptr<VerifiedBody>> VerifiedBody::Create(const Call& call, Sink sink,
                                                             std::optional<DigestKind> computed,
                                                             bool needs_length) {
  std::unique_ptr<VerifiedBody> body(new VerifiedBody);
  body->sink_ = std::move(sink);
  if (std::optional<S3Error> error = body->ReadHeaders(call, computed, needs_length)) {
    return *error;
  }
  return body;
}

std::optional<S3Error> VerifiedBody::ReadHeaders(const Call& call,
                                                 std::optional<DigestKind> computed,
                                                 bool needs_length) {
  const Headers& headers = call.request.headers;
  const bool chunked = IsChunked(call.identity.payload);
  if (const std::string* length =
          headers.Find(chunked ? "x-amz-decoded-content-length" : "content-length")) {
    expected_size_ = ParseLength(*length);
    if (!expected_size_) {
      return MakeError("InvalidArgument", "The announced length is not a number.");
    }
  } else if (needs_length && (chunked || !headers.Has("transfer-encoding"))) {
    return MakeError("MissingContentLength");
  }
  if (const std::string* md5 = headers.Find("content-md5")) {
    expected_md5_ = DecodeBase64(std::string(TrimSpaces(*md5)));
    if (!expected_md5_ || expected_md5_->size() != 16) {
      return MakeError("InvalidDigest", "The Content-MD5 you specified is not valid.");
    }
  }
  // There it is the object's, not the document's: the operation compares it.
  if (call.op != Op::kCompleteMultipartUpload) {
    if (std::optional<S3Error> error = ReadChecksumHeaders(call)) {
      return error;
    }
  }
  if (!algorithm_) {
    algorithm_ = computed;
  }
  md5_ = NewDigest(DigestKind::kMd5);
  if (algorithm_) {
    checksum_digest_ = NewDigest(*algorithm_);
  }
  if (call.identity.payload == PayloadKind::kHashed) {
    expected_sha256_ = call.identity.payload_hash;
    sha256_ = NewDigest(DigestKind::kSha256);
  } else if (chunked) {
    chunked_ =
        std::make_unique<AwsChunkedDecoder>(call.identity, [this](ByteSpan bytes) { Take(bytes); });
  }
  return std::nullopt;
}

std::optional<S3Error> VerifiedBody::ReadChecksumHeaders(const Call& call) {
  const Headers& headers = call.request.headers;
  int count = 0;
  for (const auto& [name, value] : headers.items()) {
    const std::string lower = ToLower(name);
    if (lower.rfind(kChecksumPrefix, 0) != 0 || lower == "x-amz-checksum-mode" ||
        lower == "x-amz-checksum-type" || lower == "x-amz-checksum-algorithm") {
      continue;
    }
    const auto kind = ParseChecksumAlgorithm(lower.substr(kChecksumPrefix.size()));
    if (!kind) {
      return MakeError("InvalidRequest", "The algorithm of " + lower + " is not supported.");
    }
    const std::optional<Bytes> digest = DecodeBase64(value);
    if (!digest || digest->size() != DigestSize(*kind)) {
      return MakeError("InvalidRequest", "Value for " + lower + " header is invalid.");
    }
    algorithm_ = kind;
    expected_checksum_ = value;
    ++count;
  }
  if (const std::string* trailer = headers.Find("x-amz-trailer")) {
    const std::string lower = ToLower(TrimSpaces(*trailer));
    const auto kind = lower.rfind(kChecksumPrefix, 0) == 0
                          ? ParseChecksumAlgorithm(lower.substr(kChecksumPrefix.size()))
                          : std::nullopt;
    if (!kind) {
      return MakeError("InvalidRequest",
                       "The value specified in the x-amz-trailer header is not "
                       "supported");
    }
    algorithm_ = kind;
    trailer_name_ = lower;
    ++count;
  }
  if (count > 1) {
    return MakeError("InvalidRequest",
                     "Expecting a single x-amz-checksum- header. Multiple checksum Types are not "
                     "allowed.");
  }
  if (const std::string* named = headers.Find("x-amz-sdk-checksum-algorithm")) {
    const auto kind = ParseChecksumAlgorithm(*named);
    if (!kind && !EqualsIgnoringCase(*named, "MD5")) {
      return MakeError("InvalidRequest",
                       "Checksum algorithm provided is unsupported. Please try again with any of "
                       "the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
    }
    if (kind && algorithm_ && *kind != *algorithm_) {
      return MakeError("InvalidRequest",
                       "Value for x-amz-sdk-checksum-algorithm header is invalid.");
    }
    if (kind && !algorithm_ && !expected_md5_) {
      return MakeError("InvalidRequest",
                       "x-amz-sdk-checksum-algorithm specified, but no corresponding "
                       "x-amz-checksum-* or x-amz-trailer headers were found.");
    }
  }
  return std::nullopt;
}

void VerifiedBody::Feed(ByteSpan bytes) {
  if (chunked_) {
    chunked_->Feed(bytes);
  } else {
    Take(bytes);
  }
}

void VerifiedBody::Take(ByteSpan bytes) {
  size_ += bytes.size();
  md5_->Update(bytes);
  if (sha256_) {
    sha256_->Update(bytes);
  }
  if (checksum_digest_) {
    checksum_digest_->Update(bytes);
  }
  sink_(bytes);
}

std::optional<S3Error> VerifiedBody::Finish() {
  if (chunked_) {
    if (std::optional<S3Error> error = chunked_->Finish()) {
      return error;
    }
    for (const auto& [name, value] : chunked_->trailers().items()) {
      if (name != trailer_name_) {  // what it says would not be looked at
        return MakeError("MalformedTrailerError", "The trailer " + name + " was not announced.");
      }
    }
    if (!trailer_name_.empty()) {
      expected_checksum_ = chunked_->trailers().Get(trailer_name_);
      if (expected_checksum_.empty()) {
        return MakeError("MalformedTrailerError", "The announced trailer did not come.");
      }
    }
  }
  if (expected_size_ && *expected_size_ != size_) {
    return MakeError("IncompleteBody");
  }
  return CheckDigests();
}

std::optional<S3Error> VerifiedBody::CheckDigests() {
  const Bytes md5 = md5_->Finish();
  md5_hex_ = HexEncode(md5);
  if (sha256_) {
    const std::string hash = HexEncode(sha256_->Finish());
    if (hash != expected_sha256_) {
      return MakeError("XAmzContentSHA256Mismatch")
          .With("ClientComputedContentSHA256", expected_sha256_)
          .With("S3ComputedContentSHA256", hash);
    }
  }
  if (expected_md5_ && *expected_md5_ != md5) {
    return MakeError("BadDigest", "The Content-MD5 you specified did not match what we received.")
        .With("ExpectedDigest", HexEncode(*expected_md5_))
        .With("CalculatedDigest", md5_hex_);
  }
  if (checksum_digest_) {
    const std::string name = ChecksumAlgorithmName(*algorithm_);
    const std::string value = EncodeBase64(checksum_digest_->Finish());
    if (!expected_checksum_.empty() && expected_checksum_ != value) {
      return MakeError("BadDigest",
                       "The " + name + " you specified did not match the calculated checksum.");
    }
    checksum_ = {name, value, "FULL_OBJECT"};
  }
  return std::nullopt;
}

Response ToResponse(const Call& call, Answer answer) {
  if (answer.ok()) {
    return std::move(answer).value();
  }
  return ErrorAnswer(answer.error(), call.request.path, call.request_id);
}

std::unique_ptr<Exchange> AnswerWith(const Call& call, Answer answer) {
  return AnswerNow(ToResponse(call, std::move(answer)));
}

std::unique_ptr<Exchange> ReadDocument(std::shared_ptr<Call> call,
                                       std::function<Answer(Call&, const std::string&)> answer) {
  return std::make_unique<DocumentExchange>(std::move(call), std::move(answer));
}

}  // namespace sqlite_s3::server
