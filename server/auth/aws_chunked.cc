#include "server/auth/aws_chunked.h"

#include "common/base/ascii.h"

#include <algorithm>
#include <charconv>

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxLine = 1024;
constexpr size_t kMaxTrailers = 16;
constexpr uint64_t kMaxChunk = uint64_t{5} << 30;
constexpr std::string_view kSignatureField = ";chunk-signature=";

}  // namespace

AwsChunkedDecoder::AwsChunkedDecoder(const Identity& identity, Sink sink)
    : identity_(identity),
      sink_(std::move(sink)),
      is_signed_(identity.payload != PayloadKind::kUnsignedChunkedTrailer),
      has_trailer_(identity.payload != PayloadKind::kChunked),
      previous_signature_(identity.seed_signature) {}

void AwsChunkedDecoder::Fail(std::string_view code, std::string message) {
  if (!error_) {
    error_ = MakeError(code, std::move(message));
  }
}

void AwsChunkedDecoder::Feed(ByteSpan bytes) {
  while (!bytes.empty() && !error_) {
    if (state_ == State::kDone) {
      Fail("IncompleteBody", "There are bytes after the last chunk.");
      return;
    }
    if (state_ == State::kData) {
      const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
      if (hash_) {
        hash_->Update(bytes.first(n));
      }
      sink_(bytes.first(n));
      decoded_ += n;
      left_ -= n;
      bytes = bytes.subspan(n);
      if (left_ == 0) {
        state_ = State::kDataEnd;
        ChunkEnd();
      }
      continue;
    }
    const auto end = std::find(bytes.begin(), bytes.end(), uint8_t{'\n'});
    const size_t n = static_cast<size_t>(end - bytes.begin());
    if (line_.size() + n > kMaxLine) {
      Fail("IncompleteBody", "A line of the chunked body is too long.");
      return;
    }
    line_ += AsText(bytes.first(n));
    if (end == bytes.end()) {
      return;
    }
    bytes = bytes.subspan(n + 1);
    std::string line;
    line.swap(line_);
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    Line(line);
  }
}

void AwsChunkedDecoder::Line(std::string_view line) {
  switch (state_) {
    case State::kSize:
      ChunkHead(line);
      return;
    case State::kDataEnd:
      if (!line.empty()) {
        Fail("IncompleteBody", "A chunk is longer than its announced size.");
      }
      state_ = State::kSize;
      return;
    default:
      TrailerLine(line);
  }
}

void AwsChunkedDecoder::ChunkHead(std::string_view line) {
  const size_t semicolon = line.find(';');
  const std::string_view digits = line.substr(0, semicolon);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() ||
      left_ > kMaxChunk) {
    Fail("IncompleteBody", "A chunk's size is malformed.");
    return;
  }
  chunk_signature_.clear();
  if (semicolon != std::string_view::npos &&
      line.substr(semicolon).rfind(kSignatureField, 0) == 0) {
    chunk_signature_ = line.substr(semicolon + kSignatureField.size());
  }
  if (is_signed_) {
    hash_ = NewDigest(DigestKind::kSha256);
  }
  last_ = left_ == 0;
  if (!last_) {
    state_ = State::kData;
    return;
  }
  ChunkEnd();
  state_ = State::kTrailer;
}

void AwsChunkedDecoder::ChunkEnd() {
  if (!is_signed_) {
    return;
  }
  const std::string expected = Signature(
      identity_.signing_key, ChunkStringToSign(identity_.amz_date, identity_.scope,
                                               previous_signature_, HexEncode(hash_->Finish())));
  hash_.reset();
  if (!EqualInConstantTime(expected, chunk_signature_)) {
    Fail("SignatureDoesNotMatch", "A chunk's signature does not match.");
    return;
  }
  previous_signature_ = expected;
}

void AwsChunkedDecoder::TrailerLine(std::string_view line) {
  if (line.empty()) {
    TrailerEnd();
    return;
  }
  const size_t colon = line.find(':');
  if (!has_trailer_ || colon == std::string_view::npos ||
      trailers_.items().size() >= kMaxTrailers) {
    Fail("MalformedTrailerError");
    return;
  }
  const std::string name = ToLower(TrimSpaces(line.substr(0, colon)));
  const std::string value(TrimSpaces(line.substr(colon + 1)));
  if (name == "x-amz-trailer-signature" && trailer_signature_.empty()) {
    trailer_signature_ = value;
    return;
  }
  if (!trailer_signature_.empty()) {
    Fail("MalformedTrailerError", "There are trailers after the trailer's signature.");
    return;
  }
  if (trailers_.Has(name)) {  // which of them would be meant?
    Fail("MalformedTrailerError", "A trailer comes twice.");
    return;
  }
  trailers_.Add(name, value);
  trailer_text_ += name + ":" + value + "\n";
}

void AwsChunkedDecoder::TrailerEnd() {
  // Some clients put an empty line between the trailers and their signature.
  if (identity_.payload == PayloadKind::kChunkedTrailer && trailer_signature_.empty()) {
    if (trailers_.items().empty()) {
      Fail("MalformedTrailerError");
    }
    return;
  }
  state_ = State::kDone;
}

std::optional<S3Error> AwsChunkedDecoder::Finish() {
  if (error_) {
    return error_;
  }
  // The last line's end is left out by some clients.
  if (state_ == State::kTrailer && !line_.empty()) {
    const std::string line = std::exchange(line_, {});
    TrailerLine(TrimSpaces(line));
  }
  if (error_) {
    return error_;
  }
  if (state_ != State::kDone && state_ != State::kTrailer) {
    Fail("IncompleteBody", "The chunked body ends before its last chunk.");
  } else if (identity_.payload == PayloadKind::kChunkedTrailer) {
    const std::string expected =
        Signature(identity_.signing_key,
                  TrailerStringToSign(identity_.amz_date, identity_.scope, previous_signature_,
                                      Sha256Hex(AsBytes(trailer_text_))));
    if (!EqualInConstantTime(expected, trailer_signature_)) {
      Fail("SignatureDoesNotMatch", "The trailer's signature does not match.");
    }
  }
  return error_;
}

}  // namespace sqlite_s3::server
