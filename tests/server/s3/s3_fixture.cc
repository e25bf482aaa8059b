#include "tests/server/s3/s3_fixture.h"

#include <fmt/format.h>

#include "common/base/ascii.h"
#include "server/auth/digest.h"

namespace sqlite_s3::server {

std::vector<std::string> Seen::Elements(const std::string& name) const {
  std::vector<std::string> found;
  const std::string open = "<" + name + ">";
  const std::string close = "</" + name + ">";
  for (size_t at = body.find(open); at != std::string::npos; at = body.find(open, at + 1)) {
    const size_t begin = at + open.size();
    found.push_back(body.substr(begin, body.find(close, begin) - begin));
  }
  return found;
}

std::string Seen::Element(const std::string& name) const {
  const std::vector<std::string> found = Elements(name);
  return found.empty() ? "" : found.front();
}

S3Test::S3Test()
    : users_({{"alice", "ALICE", "alice-secret", false, {}},
              {"bob", "BOB", "bob-secret", false, {"bob-*"}},
              {"reader", "READER", "reader-secret", true, {}}}) {
  user_ = *users_.Find("ALICE");
}

void S3Test::Start(StorageOptions storage, ServiceOptions service,
                   RequestInterceptor* interceptor) {
  service_.reset();
  buckets_.reset();
  storage.background_maintenance = false;
  storage.clock = &clock_;
  Result<std::unique_ptr<BucketSet>> opened = BucketSet::Open(directory_.path(), storage);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  buckets_ = std::move(*opened);
  service_ = std::make_unique<Service>(*buckets_, users_, service, clock_, nullptr, interceptor);
}

Request S3Test::Signed(const std::string& method, const std::string& target,
                       const std::string& body, const HeaderList& headers) const {
  Request request;
  request.method = method;
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  request.query = question == std::string::npos ? "" : target.substr(question + 1);
  const std::string date = FormatAmzDate(clock_.WallMicros());
  std::string hash = Sha256Hex(AsBytes(body));
  for (const auto& [name, value] : headers) {
    if (EqualsIgnoringCase(name, "x-amz-content-sha256")) {
      hash = value;
    } else {
      request.headers.Add(name, value);
    }
  }
  if (!request.headers.Has("host")) {
    request.headers.Add("host", "localhost:9000");
  }
  request.headers.Add("x-amz-date", date);
  request.headers.Add("x-amz-content-sha256", hash);
  if (method == "PUT" || method == "POST") {
    request.headers.Add("content-length", fmt::format("{}", body.size()));
  }
  SignedRequest to_sign{method, request.path, request.query, {}, hash};
  for (const auto& [name, value] : request.headers.items()) {
    const std::string lower = ToLower(name);
    if (lower == "host" || lower.rfind("x-amz-", 0) == 0) {
      to_sign.headers.emplace_back(lower, value);
    }
  }
  SigningIdentity identity;
  identity.access_key_id = user_.access_key;
  identity.secret_access_key = user_.secret_key;
  identity.region = "us-east-1";
  request.headers.Add("authorization", AuthorizationHeader(to_sign, date, identity));
  return request;
}

Seen S3Test::Deliver(Request request, const std::string& body) {
  const std::unique_ptr<Exchange> exchange = service_->Begin(std::move(request));
  std::optional<Response> answer = exchange->Early();
  if (!answer) {
    for (size_t at = 0; at < body.size(); at += piece_) {
      const std::string piece = body.substr(at, piece_);
      exchange->OnBody(AsBytes(piece));
    }
    answer = exchange->Finish();
  }
  Seen seen;
  seen.status = answer->status;
  seen.headers = answer->headers;
  seen.announced_bytes = answer->head_content_length.value_or(answer->size());
  seen.ending = answer->ending;
  seen.cut_after = answer->cut_after;
  seen.body = answer->body;
  if (answer->stream) {
    Bytes buffer(10'000);
    for (;;) {
      Result<size_t> n = answer->stream->Read(buffer);
      if (!n.ok() || *n == 0) {
        EXPECT_TRUE(n.ok()) << n.status().ToString();
        break;
      }
      seen.body += AsText(ByteSpan(buffer).first(*n));
    }
  }
  return seen;
}

Seen S3Test::Send(const std::string& method, const std::string& target, const std::string& body,
                  HeaderList headers) {
  return Deliver(Signed(method, target, body, headers), body);
}

Seen S3Test::Multipart(const std::string& target, const std::vector<std::string>& parts,
                       HeaderList create_headers, HeaderList complete_headers) {
  const Seen created = Send("POST", target + "?uploads", "", std::move(create_headers));
  EXPECT_EQ(created.status, 200) << created.body;
  const std::string id = created.Element("UploadId");
  std::string document = "<CompleteMultipartUpload>";
  for (size_t i = 0; i < parts.size(); ++i) {
    const Seen put = Put(fmt::format("{}?partNumber={}&uploadId={}", target, i + 1, id), parts[i]);
    EXPECT_EQ(put.status, 200) << put.body;
    document += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1,
                            put.headers.Get("etag"));
  }
  return Send("POST", target + "?uploadId=" + id, document + "</CompleteMultipartUpload>",
              std::move(complete_headers));
}

std::string Md5Base64Of(const std::string& text) {
  return EncodeBase64(DigestOf(DigestKind::kMd5, AsBytes(text)));
}

}  // namespace sqlite_s3::server
