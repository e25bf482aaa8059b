#include "server/s3/service.h"

#include <exception>

#include "common/base/ascii.h"
#include "common/base/hash.h"
#include "server/s3/acl.h"
#include "server/s3/answers.h"
#include "server/s3/object_headers.h"
#include "server/s3/operations.h"
#include "server/s3/verified_body.h"

namespace sqlite_s3::server {
namespace {

std::string NewRequestId() {
  std::array<uint8_t, 8> bytes{};
  (void)FillRandom(bytes);  // an id of zeros is one too
  return ToUpper(HexEncode(bytes));
}

// The outermost exchange: common headers, the observer, and no exception gets past it.
class ServedExchange : public Exchange {
 public:
  ServedExchange(std::shared_ptr<Call> call, std::unique_ptr<Exchange> inner,
                 RequestObserver* observer, int64_t began_us)
      : call_(std::move(call)),
        inner_(std::move(inner)),
        observer_(observer),
        began_us_(began_us) {}
  std::optional<Response> Early() override {
    std::optional<Response> early = inner_->Early();
    if (early) {
      Decorate(*early);
    }
    return early;
  }
  void OnBody(ByteSpan bytes) override {
    bytes_in_ += bytes.size();
    try {
      inner_->OnBody(bytes);
    } catch (const std::exception&) {  // memory: Finish says it
      failed_ = true;
    }
  }
  Response Finish() override {
    Response response;
    try {
      response = failed_ ? ToResponse(*call_, MakeError("InternalError")) : inner_->Finish();
    } catch (const std::exception&) {
      response = ToResponse(*call_, MakeError("InternalError"));
    }
    Decorate(response);
    return response;
  }

 private:
  void Decorate(Response& response) {
    response.headers.Add("x-amz-request-id", call_->request_id);
    response.headers.Add("x-amz-id-2", call_->request_id);
    response.headers.Add("Server", "sqlite-s3-server");
    AddCorsHeaders(*call_, response);
    if (observer_) {
      observer_->OnAnswer(*call_, response, call_->clock->MonotonicMicros() - began_us_, bytes_in_);
    }
  }
  std::shared_ptr<Call> call_;
  std::unique_ptr<Exchange> inner_;
  RequestObserver* observer_;
  int64_t began_us_;
  uint64_t bytes_in_ = 0;
  bool failed_ = false;
};

// The bucket that a virtual host names; empty for path style.
std::string VirtualBucket(const std::string& host_header, const std::string& domain) {
  if (domain.empty()) {
    return {};
  }
  const std::string host = ToLower(host_header.substr(0, host_header.rfind(':')));
  const std::string suffix = std::string(".").append(ToLower(domain));
  if (host.size() <= suffix.size() ||
      host.compare(host.size() - suffix.size(), suffix.size(), suffix) != 0) {
    return {};
  }
  return host.substr(0, host.size() - suffix.size());
}

Response HealthAnswer() {
  Response response;
  response.headers.Add("Content-Type", "text/plain");
  response.body = "ok\n";
  return response;
}

}  // namespace

Service::Service(BucketSet& buckets, const Users& users, ServiceOptions options, const Clock& clock,
                 RequestObserver* observer, RequestInterceptor* interceptor)
    : buckets_(buckets),
      users_(users),
      options_(std::move(options)),
      clock_(clock),
      observer_(observer),
      interceptor_(interceptor) {}

std::unique_ptr<Exchange> Service::Begin(Request request) {
  const int64_t began_us = clock_.MonotonicMicros();
  // Only without credentials: "healthz" may be a bucket's name.
  if (request.path == "/healthz" && request.query.empty() &&
      !request.headers.Has("authorization") &&
      (request.method == "GET" || request.method == "HEAD")) {
    return AnswerNow(HealthAnswer());
  }
  auto call = std::make_shared<Call>();
  call->buckets = &buckets_;
  call->options = &options_;
  call->clock = &clock_;
  call->users = &users_;
  call->request = std::move(request);
  call->request_id = NewRequestId();
  std::unique_ptr<Exchange> inner;
  try {
    std::optional<S3Error> error = Locate(*call);
    if (!error) {
      error = Authorize(*call);
    }
    if (error) {
      inner = AnswerWith(*call, *error);
    } else if (interceptor_) {
      inner = interceptor_->Intercept(
          call, [this](std::shared_ptr<Call> c) { return Dispatch(std::move(c)); });
    } else {
      inner = Dispatch(call);
    }
  } catch (const std::exception&) {
    inner = AnswerWith(*call, MakeError("InternalError"));
  }
  return std::make_unique<ServedExchange>(call, std::move(inner), observer_, began_us);
}

std::optional<S3Error> Service::Locate(Call& call) const {
  std::optional<Query> query = Query::Parse(call.request.query);
  if (!query) {
    return MakeError("InvalidURI");
  }
  call.query = std::move(*query);
  std::string_view path(call.request.path);
  if (path.empty() || path.front() != '/') {
    return MakeError("InvalidURI");
  }
  path.remove_prefix(1);
  const std::string virtual_bucket =
      VirtualBucket(call.request.headers.Get("host"), options_.domain);
  std::string_view raw_key = path;
  if (virtual_bucket.empty()) {
    const size_t slash = path.find('/');
    const std::optional<std::string> bucket = PercentDecode(path.substr(0, slash), false);
    if (!bucket) {
      return MakeError("InvalidURI");
    }
    call.bucket = *bucket;
    raw_key = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  } else {
    call.bucket = virtual_bucket;
  }
  const std::optional<std::string> key = PercentDecode(raw_key, false);
  if (!key || !IsValidUtf8(*key) || key->find('\0') != std::string::npos ||
      call.bucket.find('\0') != std::string::npos || !IsValidUtf8(call.bucket)) {
    return MakeError("InvalidURI");
  }
  call.key = *key;
  if (call.key.size() > kMaxKeyBytes) {
    return MakeError("KeyTooLongError").With("MaxSizeAllowed", "1024");
  }
  for (const auto& [name, value] : call.query.items()) {
    if (!IsValidUtf8(name) || !IsValidUtf8(value)) {  // answers hold some of them
      return MakeError("InvalidArgument", "A parameter is not UTF-8.");
    }
  }
  call.op = Route(call.request, call.query, !call.bucket.empty(), !call.key.empty());
  if (call.op == Op::kPreflight || call.op == Op::kPostObject) {
    return std::nullopt;  // a browser's question; a form that signs itself
  }
  S3Result<Identity> identity =
      Authenticate(call.request, call.query, users_, virtual_bucket, clock_.WallMicros());
  if (!identity.ok()) {
    return identity.error();
  }
  call.identity = std::move(identity).value();
  if (!call.identity.user) {
    // Anonymous bodies may be aws-chunked too.
    if (call.request.headers.Get("x-amz-content-sha256") == kStreamingUnsignedTrailer) {
      call.identity.payload = PayloadKind::kUnsignedChunkedTrailer;
    }
  }
  return std::nullopt;
}

std::optional<S3Error> Service::Authorize(const Call& call) const {
  if (call.op == Op::kPreflight || call.op == Op::kPostObject) {
    return std::nullopt;
  }
  const User* user = call.identity.user;
  const bool may = user ? !(user->read_only && IsWrite(call.op)) &&
                              (call.bucket.empty() || MayUseBucket(*user, call.bucket))
                        : options_.allow_anonymous;
  if (may || MayReadByAcl(call)) {
    return std::nullopt;
  }
  return MakeError("AccessDenied");
}

std::unique_ptr<Exchange> Service::Dispatch(std::shared_ptr<Call> call) const {
  Call& c = *call;
  switch (c.op) {
    case Op::kPutObject:
      return PutObject(std::move(call));
    case Op::kUploadPart:
      return UploadPart(std::move(call));
    case Op::kPostObject:
      return PostObject(std::move(call));
    case Op::kCreateBucket:
      return ReadDocument(std::move(call), &CreateBucket);
    case Op::kPutBucketVersioning:
      return ReadDocument(std::move(call), &PutBucketVersioning);
    case Op::kDeleteObjects:
      return ReadDocument(std::move(call), &DeleteObjects);
    case Op::kCompleteMultipartUpload:
      return ReadDocument(std::move(call), &CompleteMultipartUpload);
    case Op::kPutBucketTagging:
    case Op::kPutObjectTagging:
      return ReadDocument(std::move(call), &PutTagging);
    case Op::kPutBucketAcl:
    case Op::kPutObjectAcl:
      return ReadDocument(std::move(call), &PutAcl);
    case Op::kPutBucketCors:
      return ReadDocument(std::move(call), &PutBucketCors);
    case Op::kListBuckets:
      return AnswerWith(c, ListBuckets(c));
    case Op::kDeleteBucket:
      return AnswerWith(c, DeleteBucket(c));
    case Op::kHeadBucket:
      return AnswerWith(c, HeadBucket(c));
    case Op::kGetBucketLocation:
      return AnswerWith(c, GetBucketLocation(c));
    case Op::kGetBucketVersioning:
      return AnswerWith(c, GetBucketVersioning(c));
    case Op::kGetBucketSetting:
      return AnswerWith(c, GetBucketSetting(c));
    case Op::kDeleteBucketSetting:
      return AnswerWith(c, DeleteBucketSetting(c));
    case Op::kListObjects:
      return AnswerWith(c, ListObjects(c));
    case Op::kListObjectsV2:
      return AnswerWith(c, ListObjectsV2(c));
    case Op::kListObjectVersions:
      return AnswerWith(c, ListObjectVersions(c));
    case Op::kGetObject:
      return AnswerWith(c, GetObject(c));
    case Op::kHeadObject:
      return AnswerWith(c, HeadObject(c));
    case Op::kGetObjectAttributes:
      return AnswerWith(c, GetObjectAttributes(c));
    case Op::kDeleteObject:
      return AnswerWith(c, DeleteObject(c));
    case Op::kCopyObject:
      return AnswerWith(c, CopyObject(c));
    case Op::kUploadPartCopy:
      return AnswerWith(c, UploadPartCopy(c));
    case Op::kCreateMultipartUpload:
      return AnswerWith(c, CreateMultipartUpload(c));
    case Op::kAbortMultipartUpload:
      return AnswerWith(c, AbortMultipartUpload(c));
    case Op::kListParts:
      return AnswerWith(c, ListParts(c));
    case Op::kListMultipartUploads:
      return AnswerWith(c, ListMultipartUploads(c));
    case Op::kGetBucketTagging:
    case Op::kGetObjectTagging:
      return AnswerWith(c, GetTagging(c));
    case Op::kDeleteBucketTagging:
    case Op::kDeleteObjectTagging:
      return AnswerWith(c, DeleteTagging(c));
    case Op::kGetBucketAcl:
    case Op::kGetObjectAcl:
      return AnswerWith(c, GetAcl(c));
    case Op::kGetBucketCors:
      return AnswerWith(c, GetBucketCors(c));
    case Op::kDeleteBucketCors:
      return AnswerWith(c, DeleteBucketCors(c));
    case Op::kPreflight:
      return AnswerWith(c, Preflight(c));
    case Op::kGetObjectSetting:
      return AnswerWith(c, MakeError("NoSuchObjectLockConfiguration"));
    case Op::kMethodNotAllowed:
      return AnswerWith(c, MakeError("MethodNotAllowed"));
    case Op::kNotImplemented:
      break;
  }
  return AnswerWith(c, MakeError("NotImplemented"));
}

}  // namespace sqlite_s3::server
