// What leaves for S3, and by which way: payloads and keys over TLS, which no scripted server can
// read, and proxies.
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>

#include "common/base/cancellation.h"
#include "common/store/curl_transport.h"
#include "common/store/s3_checksum.h"
#include "common/store/s3_digest.h"
#include "common/store/s3_store.h"
#include "common/store/sigv4.h"
#include "tests/support/scripted_http.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using namespace std::chrono_literals;

Environment Keys() {
  return [](const std::string& name) -> std::optional<std::string> {
    if (name == "AWS_ACCESS_KEY_ID") return "AKIDEXAMPLE";
    if (name == "AWS_SECRET_ACCESS_KEY") return "canary-secret";
    return std::nullopt;
  };
}

// In the place of libcurl: keeps what it is given, and answers as S3 would.
class RecordingTransport : public HttpTransport {
 public:
  struct Sent {
    HttpRequest request;
    std::string Header(std::string_view name) const {
      for (const auto& header : request.headers) {
        if (header.first == name) return header.second;
      }
      return {};
    }
  };

  Result<HttpResponse> Send(const HttpRequest& request) override {
    std::lock_guard lock(mutex_);
    sent.push_back({request});
    sent.back().request.body = {};  // lives as long as the call
    HttpResponse response;
    response.framed = true;
    response.status = status;
    auto body = [&](std::string_view text) { response.body.assign(text.begin(), text.end()); };
    if (status != 200) {
      body("<Error><Code>AccessDenied</Code></Error>");
    } else if (request.url.ends_with("?uploads=")) {
      body("<R><UploadId>id</UploadId></R>");
    } else if (request.method == "POST" && request.url.ends_with("?delete=")) {
      body("<DeleteResult/>");
    } else if (request.method == "POST") {
      body("<R><ETag>\"x\"</ETag></R>");
    } else if (request.url.find("list-type=2") != std::string::npos) {
      body("<ListBucketResult/>");
    }
    response.headers = {{"etag", "\"x\""},
                        {"content-length", "0"},
                        {"last-modified", "Fri, 24 May 2013 00:00:00 GMT"}};
    return response;
  }

  std::vector<Sent> sent;
  int status = 200;

 private:
  std::mutex mutex_;
};

class S3WireTest : public ::testing::Test {
 protected:
  S3WireTest() {
    options_.address.bucket = "bucket";
    options_.address.endpoint = "https://s3.example.test";
    options_.address.part_bytes = 10;
    options_.environment = Keys();
    options_.transport = transport_;
  }
  ObjectStore& Open() {
    auto store = OpenS3Store(options_);
    EXPECT_OK(store);
    store_ = *store;
    return *store_;
  }
  // Every kind of request; the statuses as text.
  std::vector<std::string> UseAll() {
    const std::vector<std::string> keys = {"k"};
    return {store_->Put("k", AsBytes("body")).status().ToString(),
            store_->Put("parts", AsBytes("a body of three parts")).status().ToString(),
            store_->PutIfAbsent("k", AsBytes("body")).status().ToString(),
            store_->Get("k", 100).status().ToString(),
            store_->Get("k", 100, ByteRange{0, 1}).status().ToString(),
            store_->Head("k").status().ToString(),
            store_->List("", "", 10).status().ToString(),
            store_->Delete("k").ToString(),
            store_->DeleteMany(keys).status().ToString()};
  }

  std::shared_ptr<RecordingTransport> transport_ = std::make_shared<RecordingTransport>();
  S3StoreOptions options_;
  std::shared_ptr<ObjectStore> store_;
};

TEST_F(S3WireTest, OverTlsTheChecksumIsSignedInPlaceOfTheBody) {
  Open();
  ASSERT_OK(store_->Put("k", AsBytes("body")));
  ASSERT_OK(store_->Put("parts", AsBytes("a body of three parts")));
  for (const auto& sent : transport_->sent) {
    const std::string hash = sent.Header("x-amz-content-sha256");
    if (sent.request.method != "PUT") {
      EXPECT_EQ(hash.size(), 64u) << "a document is signed: " << sent.request.url;
      continue;
    }
    EXPECT_EQ(hash, kUnsignedPayload) << sent.request.url;
    EXPECT_NE(sent.Header("x-amz-checksum-crc32c"), "") << sent.request.url;
    EXPECT_THAT(sent.Header("authorization"), HasSubstr(";x-amz-checksum-crc32c;"));
  }
}

TEST_F(S3WireTest, NoBodyWithoutAChecksumIsLeftUnsigned) {
  for (S3Checksum kind : {S3Checksum::kSha256, S3Checksum::kOff}) {
    options_.address.checksum = kind;
    Open();
    ASSERT_OK(store_->Put("k", AsBytes("body")));
    EXPECT_EQ(transport_->sent.back().Header("x-amz-content-sha256"), Sha256Hex(AsBytes("body")));
  }
  options_.address.checksum = S3Checksum::kCrc32c;
  options_.address.endpoint = "http://s3.example.test";
  Open();
  ASSERT_OK(store_->Put("k", AsBytes("body")));
  EXPECT_EQ(transport_->sent.back().Header("x-amz-content-sha256"), Sha256Hex(AsBytes("body")))
      << "anybody on the way could change it";
}

TEST_F(S3WireTest, ACustomersKeyGoesWithWhatReadsAndWritesContentAndWithNothingElse) {
  TempDir dir;
  const std::string key(32, 'K');
  std::ofstream(dir.File("key")) << key;
  options_.address.sse_c_key_file = dir.File("key");
  Open();
  for (const std::string& text : UseAll()) EXPECT_THAT(text, Not(HasSubstr("KKKK")));
  const std::string family = "x-amz-server-side-encryption-customer-";
  int with_key = 0;
  for (const auto& sent : transport_->sent) {
    const HttpRequest& request = sent.request;
    const bool object = request.url.find("/bucket/") != std::string::npos;
    // S3 wants it for CompleteMultipartUpload too, where the upload has checksums.
    const bool wanted = object && request.method != "DELETE";
    EXPECT_EQ(sent.Header(family + "algorithm"), wanted ? "AES256" : "") << request.url;
    EXPECT_EQ(sent.Header(family + "key"), wanted ? Base64Encode(AsBytes(key)) : "");
    EXPECT_EQ(sent.Header(family + "key-md5"), wanted ? *Md5Base64(AsBytes(key)) : "");
    if (wanted) {
      EXPECT_THAT(sent.Header("authorization"), HasSubstr(";" + family + "key;"));
    }
    with_key += wanted ? 1 : 0;
  }
  // PUT; an upload, its three parts and its end; two probes and a look; two GETs; HEAD.
  EXPECT_EQ(with_key, 12);
}

TEST_F(S3WireTest, KeysAreInNoMessageOfARequestThatIsRefused) {
  TempDir dir;
  const std::string key(32, 'K');
  std::ofstream(dir.File("key")) << key;
  options_.address.sse_c_key_file = dir.File("key");
  transport_->status = 403;
  Open();
  for (const std::string& text : UseAll()) {
    EXPECT_THAT(text, HasSubstr("permission denied"));
    EXPECT_THAT(text, Not(HasSubstr(Base64Encode(AsBytes(key)))));
    EXPECT_THAT(text, Not(HasSubstr("KKKK")));
    EXPECT_THAT(text, Not(HasSubstr("canary")));
    EXPECT_THAT(text, Not(HasSubstr(*Md5Base64(AsBytes(key)))));
  }
}

// A variable of the process, for libcurl, as long as it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

std::shared_ptr<ObjectStore> StoreAt(const std::string& endpoint) {
  S3StoreOptions options;
  options.address.bucket = "bucket";
  options.address.endpoint = endpoint;
  options.environment = Keys();
  auto store = OpenS3Store(options);
  EXPECT_OK(store);
  return *store;
}

TEST(S3ProxyTest, PlainRequestsGoThroughTheProxyOfTheEnvironmentWithTheStoresOwnName) {
  ScriptedHttp proxy([](const ScriptedRequest&) { return HttpReply(200, "", "ETag: \"e\"\r\n"); });
  Variable http("http_proxy", proxy.endpoint());
  auto store = StoreAt("http://s3.example.test:9000");
  EXPECT_OK(store->Put("k", AsBytes("body")));
  ASSERT_EQ(proxy.requests().size(), 1u);
  EXPECT_EQ(proxy.requests()[0].target, "http://s3.example.test:9000/bucket/k");
  EXPECT_EQ(proxy.requests()[0].headers.at("host"), "s3.example.test:9000") << "it is signed";
}

TEST(S3ProxyTest, NoProxyNamesTheHostsThatAreReachedDirectly) {
  ScriptedHttp proxy([](const ScriptedRequest&) { return HttpReply(502); });
  ScriptedHttp direct([](const ScriptedRequest&) { return HttpReply(200, "", "ETag: \"e\"\r\n"); });
  Variable http("http_proxy", proxy.endpoint());
  Variable none("no_proxy", "127.0.0.1");
  EXPECT_OK(StoreAt(direct.endpoint())->Put("k", AsBytes("body")));
  EXPECT_THAT(proxy.requests(), IsEmpty());
  EXPECT_EQ(direct.requests().size(), 1u);
}

TEST(S3ProxyTest, ForTlsTheProxyIsAskedForATunnelAndSeesNothingElse) {
  ScriptedHttp proxy([](const ScriptedRequest&) { return HttpReply(403); });
  Variable https("HTTPS_PROXY", proxy.endpoint());
  Status status = StoreAt("https://s3.example.test")->Put("k", AsBytes("body")).status();
  EXPECT_STATUS(status, StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("403"));
  ASSERT_EQ(proxy.requests().size(), 1u);
  EXPECT_EQ(proxy.requests()[0].method, "CONNECT");
  EXPECT_EQ(proxy.requests()[0].target, "s3.example.test:443");
  EXPECT_EQ(proxy.requests()[0].headers.count("authorization"), 0u);
}

// A store that thinks for a minute is what a request_timeout of five minutes is for.
TEST_F(S3WireTest, ASilentStoreIsWaitedForInProportionToTheRequestTimeout) {
  for (const auto& [timeout, stall] :
       {std::pair(std::chrono::seconds(1), 20), {30s, 20}, {300s, 200}, {3600s, 2400}}) {
    options_.address.request_timeout = timeout;
    Open();
    ASSERT_OK(store_->Put("k", AsBytes("body")));
    EXPECT_EQ(transport_->sent.back().request.stall_timeout, std::chrono::seconds(stall));
  }
}

// A server that takes a request and never answers: whoever stops does not wait for the timeout.
TEST(CurlTransportTest, ARequestNobodyWaitsForEnds) {
  std::atomic<bool> asked{false};
  ScriptedHttp server([&](const ScriptedRequest&) {
    asked = true;
    return ScriptedReply{};
  });
  auto transport = NewCurlTransport({});
  ASSERT_OK(transport);
  HttpRequest request;
  request.method = "GET";
  request.url = server.endpoint() + "/bucket/key";
  request.timeout = std::chrono::hours(1);
  const std::function<bool()> stop = [&] { return asked.load(); };
  const CancelScope scope(stop);
  EXPECT_STATUS((*transport)->Send(request), StatusCode::kCancelled);
}

}  // namespace
}  // namespace sqlite_s3
