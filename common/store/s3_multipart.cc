#include "common/store/s3_multipart.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

#include "common/store/s3_checksum.h"
#include "common/store/s3_xml.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxParts = 10'000;  // S3's
constexpr int kMaxPages = 1000;

class PartUploader {
 public:
  PartUploader(S3Client& client, const std::string& key, const std::string& id, ByteSpan body,
               uint64_t part_bytes, const HttpHeaders& headers)
      : client_(client),
        key_(key),
        id_(id),
        body_(body),
        part_bytes_(part_bytes),
        headers_(headers),
        parts_(static_cast<size_t>((body.size() + part_bytes - 1) / part_bytes)) {}

  Status Run(int parallelism) {
    std::vector<std::thread> threads;
    const size_t others =
        std::min(static_cast<size_t>(std::max(parallelism, 1)), parts_.size()) - 1;
    // Threads take the mask of the one that starts them: signals are the host's.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      for (size_t i = 0; i < others; ++i) {
        threads.emplace_back([this] { Work(); });
      }
    } catch (const std::system_error&) {
      // With fewer threads, or this one alone, it only takes longer.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    Work();
    for (std::thread& thread : threads) {
      thread.join();
    }
    return first_error_;
  }

  const std::vector<S3CompletedPart>& parts() const { return parts_; }

 private:
  void Work() {
    while (!stop_) {
      const size_t index = next_++;
      if (index >= parts_.size()) {
        return;
      }
      Status status;
      try {
        status = UploadPart(index);
      } catch (const std::exception& e) {
        status = ResourceExhaustedError(std::string("upload a part: ") + e.what());
      }
      if (!status.ok()) {
        std::lock_guard lock(mutex_);
        if (first_error_.ok()) first_error_ = status;
        stop_ = true;
      }
    }
  }

  Status UploadPart(size_t index) {
    S3Request request;
    request.method = "PUT";
    request.key = key_;
    request.query = "partNumber=" + std::to_string(index + 1) + "&uploadId=" + UriEncode(id_, true);
    request.headers = headers_;
    const uint64_t offset = index * part_bytes_;
    request.body = body_.subspan(offset, std::min<uint64_t>(part_bytes_, body_.size() - offset));
    request.has_body = true;
    UploadChecksum checksum =
        ChecksumOf(request.body, client_.address().checksum, client_.endpoint().tls);
    request.payload_hash = std::move(checksum.payload_hash);
    if (!checksum.header.empty()) {
      request.headers.emplace_back(checksum.header, checksum.value);
    }
    const std::string what =
        "upload part " + std::to_string(index + 1) + " of " + client_.Name(key_);
    ASSIGN_OR_RETURN(S3Answer answer, client_.Call(request, what));
    std::string_view etag = answer.response.Header("etag");
    if (etag.empty() || etag.size() > kMaxEtagBytes) {
      return CorruptionError(what + ": the store's answer has no ETag");
    }
    if (std::string_view stored = answer.response.Header(checksum.header);
        !stored.empty() && stored != checksum.value) {
      return CorruptionError(what + ": the store says that it took other bytes than were sent");
    }
    parts_[index] = {std::string(etag), checksum.value};  // each thread its own elements
    return Status::Ok();
  }

  S3Client& client_;
  const std::string& key_;
  const std::string& id_;
  const ByteSpan body_;
  const uint64_t part_bytes_;
  const HttpHeaders& headers_;
  std::vector<S3CompletedPart> parts_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  Status first_error_;  // guarded by mutex_ while threads run
};

Result<PutResult> Complete(S3Client& client, const std::string& key, const std::string& id,
                           ByteSpan body, const std::vector<S3CompletedPart>& parts,
                           const HttpHeaders& headers) {
  const S3Checksum kind = client.address().checksum;
  const std::string document = FormatCompleteUpload(parts, ChecksumAlgorithm(kind));
  S3Request request;
  request.method = "POST";
  request.key = key;
  request.query = "uploadId=" + UriEncode(id, true);
  // A customer's key as well: S3 needs it to put the parts' checksums together.
  request.headers = headers;
  request.headers.emplace_back("content-type", "application/xml");
  if (kind == S3Checksum::kCrc32c) {
    request.headers.emplace_back("x-amz-checksum-crc32c", Crc32cBase64(body));
    request.headers.emplace_back("x-amz-checksum-type", "FULL_OBJECT");
  }
  request.body = AsBytes(document);
  request.has_body = true;
  // The store may need minutes to put a large object together, and sends blanks meanwhile.
  request.expected_bytes = uint64_t{64} << 20;
  const std::string what = "complete the upload of " + client.Name(key);
  ASSIGN_OR_RETURN(S3Answer answer, client.Call(request, what));
  // Status 200 was sent before the work was done: only the document says how it ended.
  auto etag = ParseElementText(answer.response.body, "ETag");
  if (!etag.ok()) {
    return UnavailableError(what + ": " + etag.status().message());
  }
  if (kind == S3Checksum::kCrc32c) {
    auto stored = ParseElementText(answer.response.body, "ChecksumCRC32C");
    if (stored.ok() && stored->find('-') == std::string::npos && *stored != Crc32cBase64(body)) {
      return CorruptionError(what + ": the store says that it took other bytes than were sent");
    }
  }
  return PutResult{answer.server_us, ValidateEtag(*etag).ok() ? *etag : ""};
}

}  // namespace

Result<PutResult> UploadInParts(S3Client& client, const std::string& key, ByteSpan body,
                                const HttpHeaders& headers, const HttpHeaders& part_headers) {
  S3Request initiate;
  initiate.method = "POST";
  initiate.key = key;
  initiate.query = "uploads=";
  initiate.headers = headers;
  const S3Checksum kind = client.address().checksum;
  if (kind != S3Checksum::kOff) {
    initiate.headers.emplace_back("x-amz-checksum-algorithm", ChecksumAlgorithm(kind));
    // Of the whole object, so that a GET can be compared with it; SHA-256 is of the parts only.
    initiate.headers.emplace_back("x-amz-checksum-type",
                                  kind == S3Checksum::kCrc32c ? "FULL_OBJECT" : "COMPOSITE");
  }
  initiate.has_body = true;
  const std::string what = "begin the upload of " + client.Name(key);
  ASSIGN_OR_RETURN(S3Answer answer, client.Call(initiate, what));
  auto id = ParseInitiatedUpload(answer.response.body);
  if (!id.ok()) {
    return id.status().WithContext(what);
  }
  const uint64_t part_bytes =
      std::max<uint64_t>(client.address().part_bytes, (body.size() + kMaxParts - 1) / kMaxParts);
  PartUploader uploader(client, key, *id, body, part_bytes, part_headers);
  Status status = uploader.Run(client.address().upload_parallelism);
  if (status.ok()) {
    auto done = Complete(client, key, *id, body, uploader.parts(), part_headers);
    if (done.ok()) {
      return done;
    }
    status = done.status();
  }
  (void)AbortUpload(client, key, *id);  // the error that matters is the one before
  return status;
}

Result<std::vector<OrphanedUpload>> ListUploads(S3Client& client, std::string_view prefix,
                                                int64_t before_us, size_t limit) {
  std::vector<OrphanedUpload> out;
  std::string key_marker;
  std::string id_marker;
  const std::string what = "list the uploads of " + client.Name(prefix);
  for (int page_number = 0; page_number < kMaxPages && out.size() < limit; ++page_number) {
    S3Request request;
    request.method = "GET";
    request.query = "encoding-type=url&prefix=" + UriEncode(prefix, true) + "&uploads=";
    if (!key_marker.empty()) {
      request.query += "&key-marker=" + UriEncode(key_marker, true) +
                       "&upload-id-marker=" + UriEncode(id_marker, true);
    }
    request.max_response_bytes = kMaxXmlBytes;
    ASSIGN_OR_RETURN(S3Answer answer, client.Call(request, what));
    auto page = ParseUploadPage(answer.response.body);
    if (!page.ok()) {
      return page.status().WithContext(what);
    }
    for (S3Upload& upload : page->uploads) {
      // A server that ignores the prefix must not make us touch others' uploads.
      if (upload.key.starts_with(prefix) && upload.initiated_us < before_us && out.size() < limit) {
        out.push_back({std::move(upload.key), std::move(upload.id), upload.initiated_us});
      }
    }
    if (!page->truncated || page->next_key.empty()) {
      break;
    }
    key_marker = std::move(page->next_key);
    id_marker = std::move(page->next_id);
  }
  return out;
}

Status AbortUpload(S3Client& client, const std::string& key, const std::string& id) {
  S3Request request;
  request.method = "DELETE";
  request.key = key;
  request.query = "uploadId=" + UriEncode(id, true);
  auto answer = client.Send(request);
  const std::string what = "abort the upload of " + client.Name(key);
  if (!answer.ok()) {
    return answer.status().WithContext(what);
  }
  if (answer->failed && answer->failure.code != "NoSuchUpload") {
    return ToStatus(answer->failure, what);
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
