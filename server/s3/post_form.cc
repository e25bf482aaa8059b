// POST to a bucket: an upload from a browser's form, allowed by the policy that the form carries.
#include <fmt/format.h>

#include "server/auth/digest.h"
#include "server/auth/post_policy.h"
#include "server/s3/answers.h"
#include "server/s3/conditions.h"
#include "server/s3/form_parser.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/verified_body.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr std::string_view kFilename = "${filename}";

class PostExchange : public Exchange {
 public:
  PostExchange(SharedCall call, std::shared_ptr<Bucket> bucket, const std::string& boundary)
      : call_(std::move(call)),
        bucket_(std::move(bucket)),
        md5_(NewDigest(DigestKind::kMd5)),
        parser_(boundary, {[this](std::string name, std::string value) {
                             fields_.emplace(std::move(name), std::move(value));
                           },
                           [this](const std::string& filename, const std::string& type) {
                             error_ = BeginFile(filename, type);
                           },
                           [this](ByteSpan bytes) { Write(bytes); }}) {}

  void OnBody(ByteSpan bytes) override {
    if (!error_) {
      parser_.Feed(bytes);
    }
  }

  Response Finish() override {
    if (!error_) {
      error_ = parser_.Finish();
    }
    if (!error_ && size_ < grant_.min_bytes) {
      error_ = MakeError("EntityTooSmall");
    }
    return ToResponse(*call_, error_ ? Answer(*error_) : Publish());
  }

 private:
  std::string Field(const std::string& name) const {
    const auto found = fields_.find(name);
    return found == fields_.end() ? std::string() : found->second;
  }

  std::optional<S3Error> BeginFile(const std::string& filename, const std::string& type) {
    if (!fields_.contains("key") || Field("key").empty()) {
      return fields_.contains("policy") || call_->options->allow_anonymous
                 ? MakeError("UserKeyMustBeSpecified")
                 : MakeError("AccessDenied");
    }
    std::string& key = fields_["key"];
    for (size_t at = key.find(kFilename); at != std::string::npos;
         at = key.find(kFilename, at + filename.size())) {
      key.replace(at, kFilename.size(), filename);
    }
    fields_["bucket"] = call_->bucket;
    S3Result<PostGrant> grant = CheckPostPolicy(fields_, *call_->users, call_->clock->WallMicros());
    if (!grant.ok()) {
      return grant.error();
    }
    grant_ = *grant;
    if (!grant_.user && !call_->options->allow_anonymous) {
      return MakeError("AccessDenied");
    }
    if (grant_.user && (grant_.user->read_only || !MayUseBucket(*grant_.user, call_->bucket))) {
      return MakeError("AccessDenied");
    }
    call_->identity.user = grant_.user;
    call_->key = key;
    if (!IsValidUtf8(key) || key.find('\0') != std::string::npos) {
      return MakeError("InvalidArgument", "The key is not UTF-8.");
    }
    if (std::optional<S3Error> error = ReadFields(type)) {
      return error;
    }
    writer_ = bucket_->NewBody();
    return std::nullopt;
  }

  // The fields that are headers of a PUT mean the same here.
  std::optional<S3Error> ReadFields(const std::string& file_type) {
    Call as_put = *call_;
    as_put.request.headers = Headers();
    for (const auto& [name, value] : fields_) {
      if (name != "tagging") {
        as_put.request.headers.Add(name == "acl" ? "x-amz-acl" : name, value);
      }
    }
    if (!as_put.request.headers.Has("content-type") && !file_type.empty()) {
      as_put.request.headers.Add("content-type", file_type);
    }
    S3Result<ObjectAttributes> attributes = ReadAttributes(as_put);
    if (!attributes.ok()) {
      return attributes.error();
    }
    attributes_ = *attributes;
    if (fields_.contains("tagging")) {
      const auto parsed = ParseDocument(Field("tagging"), "Tagging");
      if (!parsed) {
        return MakeError("MalformedXML");
      }
      for (const pugi::xml_node& tag : parsed->document_element().child("TagSet").children("Tag")) {
        attributes_.tags.emplace_back(tag.child("Key").text().get(),
                                      tag.child("Value").text().get());
      }
      if (std::optional<S3Error> error = CheckTags(attributes_.tags, 10)) {
        return error;
      }
    }
    for (const auto& [name, value] : fields_) {
      if (name.rfind("x-amz-checksum-", 0) == 0 && name != "x-amz-checksum-algorithm") {
        algorithm_ = ParseChecksumAlgorithm(name.substr(15));
        if (!algorithm_) {
          return MakeError("InvalidRequest", "The algorithm of " + name + " is not supported.");
        }
        claimed_ = value;
        checksum_ = NewDigest(*algorithm_);
      }
    }
    return std::nullopt;
  }

  void Write(ByteSpan bytes) {
    if (error_) {
      return;
    }
    size_ += bytes.size();
    if (grant_.max_bytes && size_ > *grant_.max_bytes) {
      error_ = MakeError("EntityTooLarge");
      writer_.reset();
      return;
    }
    md5_->Update(bytes);
    if (checksum_) {
      checksum_->Update(bytes);
    }
    const StorageStatus appended = writer_->Append(bytes);
    if (!appended.ok()) {
      error_ = FromStorage(appended);
      writer_.reset();
    }
  }

  Answer Publish() {
    PutRequest request;
    request.key = call_->key;
    request.attributes = attributes_;
    request.etag = HexEncode(md5_->Finish());
    if (checksum_) {
      request.checksum = {ChecksumAlgorithmName(*algorithm_), EncodeBase64(checksum_->Finish()),
                          "FULL_OBJECT"};
      if (request.checksum.value != claimed_) {
        return MakeError("BadDigest");
      }
    }
    StorageResult<PutResult> put = bucket_->Put(request, writer_.get());
    if (!put.ok()) {
      return FromStorage(put.status()).With("Key", call_->key);
    }
    return Done(*put);
  }

  Answer Done(const PutResult& put) {
    const std::string location = fmt::format("{}://{}/{}/{}", call_->request.tls ? "https" : "http",
                                             call_->request.headers.Get("host"), call_->bucket,
                                             UriEncode(call_->key, false));
    const std::string status = Field("success_action_status");
    Response response;
    response.status = 204;
    if (status == "201") {
      XmlDocument document("PostResponse", false);
      document.Add("Location", location);
      document.Add("Bucket", call_->bucket);
      document.Add("Key", call_->key);
      document.Add("ETag", Quoted(put.etag));
      response = document.Answer(201);
    } else if (status == "200") {
      response.status = 200;
    }
    std::string redirect = Field("success_action_redirect");
    if (redirect.empty()) {
      redirect = Field("redirect");
    }
    // Control characters would end the header and begin another.
    if ((redirect.rfind("http://", 0) == 0 || redirect.rfind("https://", 0) == 0) &&
        redirect.find_first_of("\r\n\t") == std::string::npos) {
      response = Response();
      response.status = 303;
      response.headers.Add("Location",
                           fmt::format("{}{}bucket={}&key={}&etag={}", redirect,
                                       redirect.find('?') == std::string::npos ? '?' : '&',
                                       UriEncode(call_->bucket, true), UriEncode(call_->key, true),
                                       UriEncode(Quoted(put.etag), true)));
    } else {
      response.headers.Add("Location", location);
    }
    AddPutHeaders(put, response.headers);
    return response;
  }

  SharedCall call_;
  std::shared_ptr<Bucket> bucket_;
  FormFields fields_;
  PostGrant grant_;
  ObjectAttributes attributes_;
  std::unique_ptr<BodyWriter> writer_;
  std::unique_ptr<StreamingDigest> md5_;
  std::optional<DigestKind> algorithm_;
  std::unique_ptr<StreamingDigest> checksum_;
  std::string claimed_;
  uint64_t size_ = 0;
  std::optional<S3Error> error_;
  FormParser parser_;
};

}  // namespace

std::unique_ptr<Exchange> PostObject(SharedCall call) {
  S3Result<std::shared_ptr<Bucket>> bucket = call->OpenBucket();
  if (!bucket.ok()) {
    return AnswerWith(*call, bucket.error());
  }
  const auto boundary = FormParser::BoundaryOf(call->request.headers.Get("content-type"));
  if (!boundary) {
    return AnswerWith(*call, MakeError("MalformedPOSTRequest"));
  }
  std::shared_ptr<Bucket> target = *bucket;
  return std::make_unique<PostExchange>(std::move(call), std::move(target), *boundary);
}

}  // namespace sqlite_s3::server
