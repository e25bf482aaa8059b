#include "common/store/s3_store.h"

#include <algorithm>
#include <charconv>

#include "common/store/http_date.h"
#include "common/store/s3_checksum.h"
#include "common/store/s3_xml.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxOffset = ~uint64_t{0} >> 1;  // what every server can count to
constexpr int kMaxSkippedPages = 1000;

Status TooMuch(const std::string& what, uint64_t max_bytes) {
  return ResourceExhaustedError(what + ": more than the " + std::to_string(max_bytes) +
                                " bytes that may be read");
}

// "bytes 5-9/10": the first offset.
std::optional<uint64_t> FirstOf(std::string_view content_range) {
  if (!content_range.starts_with("bytes ")) return std::nullopt;
  content_range.remove_prefix(6);
  uint64_t first = 0;
  auto [end, error] =
      std::from_chars(content_range.data(), content_range.data() + content_range.size(), first);
  if (error != std::errc() || end == content_range.data() + content_range.size() || *end != '-') {
    return std::nullopt;
  }
  return first;
}

}  // namespace

std::string UsableEtag(std::string_view header) {
  return ValidateEtag(header).ok() ? std::string(header) : std::string();
}

S3Store::S3Store(std::shared_ptr<S3Client> client, HttpHeaders put_headers,
                 HttpHeaders read_headers, bool read_only)
    : client_(std::move(client)),
      put_headers_(std::move(put_headers)),
      read_headers_(std::move(read_headers)),
      read_only_(read_only) {}

std::string S3Store::Describe() const {
  std::string out = client_->Name(client_->address().prefix);
  if (!client_->address().endpoint.empty()) {
    out += "?endpoint=" + client_->address().endpoint;
  }
  return out;
}

std::string S3Store::FullKey(std::string_view key) const {
  const std::string& prefix = client_->address().prefix;
  return prefix.empty() ? std::string(key) : prefix + "/" + std::string(key);
}

Result<Bytes> S3Store::Get(std::string_view key, uint64_t max_bytes,
                           std::optional<ByteRange> range) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  const std::string full_key = FullKey(key);
  const std::string what = "get " + client_->Name(full_key);
  if (range && (range->length == 0 || range->offset > kMaxOffset)) {
    ASSIGN_OR_RETURN(ObjectInfo info, Head(key));  // such a range cannot be asked for
    (void)info;
    return Bytes{};
  }
  const bool check = client_->address().checksum != S3Checksum::kOff;
  S3Request request;
  request.method = "GET";
  request.key = full_key;
  request.headers = read_headers_;
  request.document_expected = false;
  request.max_response_bytes = max_bytes;
  request.expected_bytes = max_bytes;
  if (range) {
    const uint64_t last = range->offset + std::min(range->length - 1, kMaxOffset - range->offset);
    request.headers.emplace_back(
        "range", "bytes=" + std::to_string(range->offset) + "-" + std::to_string(last));
    request.expected_bytes = std::min(max_bytes, last - range->offset + 1);
  } else if (check) {
    request.headers.emplace_back("x-amz-checksum-mode", "ENABLED");
  }
  auto sent = client_->Send(request);
  if (!sent.ok()) {
    return sent.status().WithContext(what);
  }
  HttpResponse& response = sent->response;
  if (sent->failed) {
    if (range && sent->failure.http_status == 416) {
      return Bytes{};
    }
    return ToStatus(sent->failure, what);
  }
  if (response.too_large) {
    return TooMuch(what, max_bytes);
  }
  if (!response.framed) {
    return UnavailableError(what + ": the answer does not say how long it is");
  }
  if (range) {
    if (response.status != 206) {
      return UnimplementedError(what +
                                ": the store does not honour Range, hint: this endpoint "
                                "cannot hold a replica");
    }
    if (FirstOf(response.Header("content-range")) != range->offset ||
        response.body.size() > range->length) {
      return CorruptionError(what + ": the store sent another range than was asked for");
    }
  } else if (check) {
    RETURN_IF_ERROR(CheckBody(response, what));
  }
  return std::move(response.body);
}

Result<ObjectInfo> S3Store::Head(std::string_view key) {
  RETURN_IF_ERROR(ValidateObjectKey(key));
  const std::string full_key = FullKey(key);
  const std::string what = "head " + client_->Name(full_key);
  S3Request request;
  request.method = "HEAD";
  request.key = full_key;
  request.headers = read_headers_;
  ASSIGN_OR_RETURN(S3Answer answer, client_->Call(request, what));
  ObjectInfo info;
  info.key = key;
  std::string_view length = answer.response.Header("content-length");
  auto [end, error] =
      std::from_chars(length.data(), length.data() + length.size(), info.size_bytes);
  auto modified = ParseHttpDate(answer.response.Header("last-modified"));
  if (length.empty() || error != std::errc() || end != length.data() + length.size() || !modified) {
    return CorruptionError(what + ": the answer lacks the object's size or time");
  }
  info.modified_us = *modified;
  info.etag = UsableEtag(answer.response.Header("etag"));
  return info;
}

Result<std::vector<ObjectInfo>> S3Store::List(std::string_view prefix, std::string_view start_after,
                                              int max_keys) {
  RETURN_IF_ERROR(ValidateObjectPrefix(prefix));
  if (max_keys < 1 || max_keys > kMaxListKeys) {
    return InvalidArgumentError("list: max_keys " + std::to_string(max_keys) + " is not 1 to 1000");
  }
  const std::string full_prefix = FullKey(prefix);
  const size_t root = full_prefix.size() - prefix.size();
  const std::string what = "list " + client_->Name(full_prefix);
  std::string token;
  std::string last = std::string(start_after);  // what the next key must be greater than
  std::vector<ObjectInfo> out;
  for (int page_number = 0; page_number < kMaxSkippedPages; ++page_number) {
    S3Request request;
    request.method = "GET";
    request.query = "encoding-type=url&list-type=2&max-keys=" + std::to_string(max_keys) +
                    "&prefix=" + UriEncode(full_prefix, true);
    if (!token.empty()) {
      request.query += "&continuation-token=" + UriEncode(token, true);
    } else if (!start_after.empty()) {
      request.query += "&start-after=" +
                       UriEncode(full_prefix.substr(0, root) + StartAfterText(start_after), true);
    }
    request.max_response_bytes = kMaxXmlBytes;
    ASSIGN_OR_RETURN(S3Answer answer, client_->Call(request, what));
    auto page = ParseListPage(answer.response.body);
    if (!page.ok()) {
      return page.status().WithContext(what);
    }
    if (page->objects.size() > static_cast<size_t>(max_keys)) {
      return CorruptionError(what + ": more keys than were asked for");
    }
    for (const S3ListedObject& object : page->objects) {
      if (!object.key.starts_with(full_prefix)) {
        return CorruptionError(what + ": a key that does not start with the prefix");
      }
      std::string key = object.key.substr(root);
      if (key <= last && !(last.empty() && key.empty())) {
        return CorruptionError(what + ": keys are not in ascending order");
      }
      if (ValidateObjectKey(key).ok()) {
        out.push_back({key, object.size_bytes, object.modified_us});
      }
      last = std::move(key);
    }
    if (!out.empty() || !page->truncated) {
      return out;
    }
    // Only names that are no keys of ours: an empty page would mean the end.
    if (page->objects.empty() && page->continuation_token.empty()) {
      return CorruptionError(what + ": a page that leads nowhere");
    }
    token = page->continuation_token;
    if (token.empty()) {
      return CorruptionError(what + ": a truncated page without a token");
    }
  }
  return ResourceExhaustedError(what + ": too many names that are no keys of a replica");
}

}  // namespace sqlite_s3
