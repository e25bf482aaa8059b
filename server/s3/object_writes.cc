#include <cstdlib>
#include <functional>

#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/verified_body.h"

namespace sqlite_s3::server {
namespace {

// A body on its way into a bucket: verified as it comes, published by the last step only.
class UploadExchange : public Exchange {
 public:
  using Publish = std::function<Answer(const VerifiedBody& body, BodyWriter* writer)>;
  UploadExchange(SharedCall call, std::shared_ptr<Bucket> bucket,
                 std::optional<DigestKind> computed, Publish publish)
      : call_(std::move(call)), bucket_(std::move(bucket)), publish_(std::move(publish)) {
    S3Result<std::unique_ptr<VerifiedBody>> body = VerifiedBody::Create(
        *call_, [this](ByteSpan bytes) { Write(bytes); }, computed);
    if (body.ok()) {
      body_ = std::move(body).value();
      writer_ = bucket_->NewBody();
    } else {
      error_ = body.error();
    }
  }
  std::optional<Response> Early() override {
    return error_ ? std::optional<Response>(ToResponse(*call_, *error_)) : std::nullopt;
  }
  void OnBody(ByteSpan bytes) override {
    if (!error_) {
      body_->Feed(bytes);
    }
  }
  Response Finish() override {
    if (!error_) {
      error_ = body_->Finish();
    }
    if (error_) {
      return ToResponse(*call_, *error_);
    }
    return ToResponse(*call_, publish_(*body_, writer_.get()));
  }

 private:
  void Write(ByteSpan bytes) {
    if (error_) {
      return;
    }
    const StorageStatus appended = writer_->Append(bytes);
    if (!appended.ok()) {
      error_ = FromStorage(appended);
      writer_.reset();
    }
  }
  SharedCall call_;
  std::shared_ptr<Bucket> bucket_;
  Publish publish_;
  std::unique_ptr<BodyWriter> writer_;
  std::unique_ptr<VerifiedBody> body_;
  std::optional<S3Error> error_;
};

// What the announced length says before a byte has come.
std::optional<S3Error> CheckAnnouncedSize(const Call& call) {
  const std::string* length = call.request.headers.Find("x-amz-decoded-content-length");
  if (!length) {
    length = call.request.headers.Find("content-length");
  }
  if (length &&
      (length->size() > 12 || std::strtoull(length->c_str(), nullptr, 10) > kMaxPutBytes)) {
    return MakeError("EntityTooLarge").With("MaxSizeAllowed", std::to_string(kMaxPutBytes));
  }
  return std::nullopt;
}

}  // namespace

void AddPutHeaders(const PutResult& result, Headers& headers) {
  headers.Add("ETag", Quoted(result.etag));
  if (result.versioned) {
    headers.Add("x-amz-version-id", result.version_id);
  }
  AddChecksum(result.checksum, headers);
}

std::unique_ptr<Exchange> PutObject(SharedCall call) {
  S3Result<std::shared_ptr<Bucket>> bucket = call->OpenBucket();
  if (!bucket.ok()) {
    return AnswerWith(*call, bucket.error());
  }
  if (std::optional<S3Error> error = CheckAnnouncedSize(*call)) {
    return AnswerWith(*call, *error);
  }
  S3Result<ObjectAttributes> attributes = ReadAttributes(*call);
  if (!attributes.ok()) {
    return AnswerWith(*call, attributes.error());
  }
  PutRequest request;
  request.key = call->key;
  request.attributes = std::move(*attributes);
  request.conditions = ReadWriteConditions(*call);
  std::shared_ptr<Bucket> target = *bucket;
  const Call& c = *call;
  return std::make_unique<UploadExchange>(
      std::move(call), target, std::nullopt,
      [&c, target, request](const VerifiedBody& body, BodyWriter* writer) mutable -> Answer {
        request.etag = body.md5_hex();
        request.checksum = body.checksum();
        StorageResult<PutResult> put = target->Put(request, writer);
        if (!put.ok()) {
          return FromStorage(put.status()).With("Key", c.key);
        }
        Response response;
        AddPutHeaders(*put, response.headers);
        return response;
      });
}

std::unique_ptr<Exchange> UploadPart(SharedCall call) {
  S3Result<std::shared_ptr<Bucket>> bucket = call->OpenBucket();
  if (!bucket.ok()) {
    return AnswerWith(*call, bucket.error());
  }
  S3Result<int> number = ReadPartNumber(*call);
  if (!number.ok()) {
    return AnswerWith(*call, number.error());
  }
  if (std::optional<S3Error> error = CheckAnnouncedSize(*call)) {
    return AnswerWith(*call, *error);
  }
  const std::string upload_id = call->query.Get("uploadId");
  StorageResult<UploadInfo> upload = (*bucket)->GetUpload(call->key, upload_id);
  if (!upload.ok()) {
    return AnswerWith(*call, FromStorage(upload.status()).With("UploadId", upload_id));
  }
  std::shared_ptr<Bucket> target = *bucket;
  const Call& c = *call;
  const std::string algorithm = upload->checksum_algorithm;
  return std::make_unique<UploadExchange>(
      std::move(call), target, ParseChecksumAlgorithm(algorithm),
      [&c, target, upload_id, algorithm, part_number = *number](const VerifiedBody& body,
                                                                BodyWriter* writer) -> Answer {
        if (!algorithm.empty() && body.checksum().algorithm != algorithm) {
          return MakeError("InvalidRequest",
                           "Checksum Type mismatch occurred, expected checksum Type: " + algorithm +
                               ", actual checksum Type: " + body.checksum().algorithm);
        }
        PartInfo part;
        part.number = part_number;
        part.size_bytes = body.size_bytes();
        part.etag = body.md5_hex();
        part.checksum = body.checksum();
        const StorageStatus put = target->PutPart(c.key, upload_id, part, writer);
        if (!put.ok()) {
          return FromStorage(put);
        }
        Response response;
        response.headers.Add("ETag", Quoted(part.etag));
        Checksum echoed = part.checksum;
        echoed.type.clear();
        AddChecksum(echoed, response.headers);
        return response;
      });
}

}  // namespace sqlite_s3::server
