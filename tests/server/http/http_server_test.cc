#include "server/http/http_server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "server/http/listen_socket.h"
#include "tests/server/http/raw_client.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3::server {
namespace {

// Counts to `size`, letter by letter.
class LetterStream : public BodyStream {
 public:
  explicit LetterStream(uint64_t size) : left_(size) {}
  Result<size_t> Read(std::span<uint8_t> out) override {
    const size_t n =
        static_cast<size_t>(std::min<uint64_t>(left_, std::min<size_t>(out.size(), 777)));
    for (size_t i = 0; i < n; ++i) {
      out[i] = static_cast<uint8_t>('a' + (position_ + i) % 26);
    }
    position_ += n;
    left_ -= n;
    return n;
  }

 private:
  uint64_t left_;
  uint64_t position_ = 0;
};

// /echo answers the body; /letters?N streams; /early refuses before the body; /end?... endings.
class TestHandler : public Handler {
 public:
  std::unique_ptr<Exchange> Begin(Request request) override {
    Response response;
    if (request.path == "/echo") {
      return CollectBody(
          1 << 20,
          [] {
            Response large;
            large.status = 413;
            return large;
          },
          [request](std::string body) {
            Response echo;
            echo.headers.Add("X-Target", request.target());
            echo.body = std::move(body);
            return echo;
          });
    }
    if (request.path == "/letters") {
      response.stream_size = std::strtoull(request.query.c_str(), nullptr, 10);
      response.stream = std::make_unique<LetterStream>(response.stream_size);
    } else if (request.path == "/endless") {
      response.stream_size = uint64_t{1} << 40;
      response.stream = std::make_unique<WatchedStream>(*this);
    } else if (request.path == "/lies") {
      response.stream_size = 1000;
      response.stream = std::make_unique<LetterStream>(10);
    } else if (request.path == "/head") {
      response.head_content_length = 123;
    } else if (request.path == "/reset") {
      response.ending = Ending::kReset;
    } else if (request.path == "/cut-reset" || request.path == "/cut-close") {
      response.body = "0123456789";
      response.cut_after = 4;
      response.ending = request.path == "/cut-reset" ? Ending::kReset : Ending::kClose;
    } else if (request.path == "/wait") {
      std::unique_lock lock(mutex_);
      ++waiting_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return released_; });
      response.body = "waited";
    } else {
      response.status = 403;
      response.body = "early";
    }
    return AnswerNow(std::move(response));
  }

  void AwaitWaiting() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ > 0; });
  }
  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

  void AwaitStreamEnd() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stream_ended_; });
  }

 private:
  // Says when the server drops it.
  class WatchedStream : public LetterStream {
   public:
    explicit WatchedStream(TestHandler& handler)
        : LetterStream(uint64_t{1} << 40), handler_(handler) {}
    ~WatchedStream() override {
      std::lock_guard lock(handler_.mutex_);
      handler_.stream_ended_ = true;
      handler_.changed_.notify_all();
    }

   private:
    TestHandler& handler_;
  };
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stream_ended_ = false;
  int waiting_ = 0;
  bool released_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void Start(const HttpOptions& options) {
    Result<std::unique_ptr<HttpServer>> server = HttpServer::Start(options, handler_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
  }
  std::string Exchange(const std::string& request) {
    RawClient client(server_->port());
    EXPECT_TRUE(client.Send(request));
    return client.ReadToEnd();
  }
  static std::string Body(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? "no head: " + answer : answer.substr(end + 4);
  }
  TestHandler handler_;
  std::unique_ptr<HttpServer> server_;
};

constexpr char kClose[] = "Host: x\r\nConnection: close\r\n";

TEST_F(HttpServerTest, TargetsArriveAsTheyWereSent) {
  const std::string answer =
      Exchange(fmt::format("GET /echo?a=%41+b&c HTTP/1.1\r\n{}\r\n", kClose));
  EXPECT_NE(answer.find("X-Target: /echo?a=%41+b&c\r\n"), std::string::npos) << answer;
}

TEST_F(HttpServerTest, BodiesArriveWholeWithLengthOrChunked) {
  const std::string large(300'000, 'l');
  EXPECT_EQ(Body(Exchange(fmt::format("PUT /echo HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}",
                                      kClose, large.size(), large))),
            large);
  EXPECT_EQ(Body(Exchange(fmt::format("PUT /echo HTTP/1.1\r\n{}Transfer-Encoding: chunked\r\n\r\n"
                                      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
                                      kClose))),
            "abcde");
}

TEST_F(HttpServerTest, TwoLengthsAreRefused) {
  const std::string answer =
      Exchange(fmt::format("PUT /echo HTTP/1.1\r\n{}Content-Length: 3\r\nTransfer-Encoding: "
                           "chunked\r\n\r\n0\r\n\r\n",
                           kClose));
  EXPECT_EQ(answer.rfind("HTTP/1.1 400", 0), 0u) << answer;
}

TEST_F(HttpServerTest, AContentLengthThatComesTwiceIsRefused) {
  for (const char* second : {"3", "5"}) {
    const std::string answer = Exchange(
        fmt::format("PUT /echo HTTP/1.1\r\n{}Content-Length: 3\r\nContent-Length: {}\r\n\r\nabc",
                    kClose, second));
    EXPECT_EQ(answer.rfind("HTTP/1.1 400", 0), 0u) << answer;
  }
}

TEST_F(HttpServerTest, ExpectContinueIsToldToContinueOnlyWhenTheBodyIsWanted) {
  RawClient wanted(server_->port());
  wanted.Send(fmt::format(
      "PUT /echo HTTP/1.1\r\n{}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", kClose));
  EXPECT_EQ(wanted.ReadUntil("\r\n\r\n").rfind("HTTP/1.1 100", 0), 0u);
  wanted.Send("abc");
  EXPECT_EQ(Body(wanted.ReadToEnd()), "abc");
  const std::string refused = Exchange(fmt::format(
      "PUT /early HTTP/1.1\r\n{}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", kClose));
  EXPECT_EQ(refused.rfind("HTTP/1.1 403", 0), 0u) << refused;
}

TEST_F(HttpServerTest, AnEarlyAnswerReachesClientsThatDoNotWait) {
  RawClient client(server_->port());
  const std::string body(1'000'000, 'b');
  EXPECT_TRUE(client.Send(
      fmt::format("PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.size())));
  EXPECT_TRUE(client.Send(body));
  EXPECT_NE(client.ReadUntil("early").find("HTTP/1.1 403"), std::string::npos);
  // And the connection goes on.
  EXPECT_TRUE(client.Send(fmt::format("GET /echo HTTP/1.1\r\n{}\r\n", kClose)));
  EXPECT_NE(client.ReadToEnd().find("HTTP/1.1 200"), std::string::npos);
}

// libmicrohttpd closes connections that are answered before it has looked for a body.
TEST_F(HttpServerTest, AnAnswerKnownFromTheHeadKeepsTheConnection) {
  RawClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send("GET /early HTTP/1.1\r\nHost: x\r\n\r\n")) << i;
    const std::string answer = client.ReadUntil("early");
    EXPECT_NE(answer.find("HTTP/1.1 403"), std::string::npos) << i << answer;
    EXPECT_EQ(answer.find("Connection: close"), std::string::npos) << answer;
  }
  ASSERT_TRUE(client.Send("GET /letters?100 HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.ReadUntil("tuv").find("Connection: close"), std::string::npos);
}

TEST_F(HttpServerTest, StreamsHaveTheirLengthAndHeadHasNoBody) {
  std::string expected;
  for (int i = 0; i < 1'000'000; ++i) {
    expected += static_cast<char>('a' + i % 26);
  }
  const std::string streamed =
      Exchange(fmt::format("GET /letters?1000000 HTTP/1.1\r\n{}\r\n", kClose));
  EXPECT_NE(streamed.find("Content-Length: 1000000\r\n"), std::string::npos);
  EXPECT_EQ(Body(streamed), expected);
  const std::string head =
      Exchange(fmt::format("HEAD /letters?1000000 HTTP/1.1\r\n{}\r\n", kClose));
  EXPECT_NE(head.find("Content-Length: 1000000\r\n"), std::string::npos);
  EXPECT_EQ(Body(head), "");
  const std::string announced = Exchange(fmt::format("HEAD /head HTTP/1.1\r\n{}\r\n", kClose));
  EXPECT_NE(announced.find("Content-Length: 123\r\n"), std::string::npos) << announced;
}

TEST_F(HttpServerTest, AStreamThatEndsTooSoonClosesTheConnection) {
  EXPECT_EQ(Body(Exchange("GET /lies HTTP/1.1\r\nHost: x\r\n\r\n")), "abcdefghij");
}

TEST_F(HttpServerTest, EndingsAreAsTheAnswerSays) {
  RawClient reset(server_->port());
  reset.Send("GET /reset HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(reset.ReadToEnd(), "");
  EXPECT_TRUE(reset.was_reset());
  RawClient cut(server_->port());
  cut.Send("GET /cut-reset HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string before_reset = cut.ReadToEnd();
  EXPECT_NE(before_reset.find("Content-Length: 10\r\n"), std::string::npos);
  EXPECT_EQ(Body(before_reset), "0123");
  EXPECT_TRUE(cut.was_reset());
  RawClient closed(server_->port());
  closed.Send("GET /cut-close HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(Body(closed.ReadToEnd()), "0123");
  EXPECT_FALSE(closed.was_reset());
}

TEST_F(HttpServerTest, HeadersAreBounded) {
  std::string huge = "GET /echo HTTP/1.1\r\nHost: x\r\n";
  for (int i = 0; i < 50; ++i) {
    huge += fmt::format("X-{}: {}\r\n", i, std::string(1000, 'h'));
  }
  EXPECT_EQ(Exchange(huge + "\r\n").rfind("HTTP/1.1 431", 0), 0u);
  EXPECT_NE(Exchange("GET /" + std::string(200'000, 'u') + " HTTP/1.1\r\nHost: x\r\n\r\n")
                .find("HTTP/1.1 4"),
            std::string::npos);
}

TEST_F(HttpServerTest, WhoSendsNoHeadInTimeIsCutOff) {
  HttpOptions options;
  options.patience.head = std::chrono::seconds(1);
  Start(options);
  RawClient slow(server_->port());
  slow.Send("GET /echo HTTP/1.1\r\nHost");
  EXPECT_EQ(slow.ReadToEnd().find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(HttpServerTest, WhoseBodyTricklesIsCutOff) {
  HttpOptions options;
  options.patience.body = std::chrono::seconds(1);
  Start(options);
  RawClient slow(server_->port());
  slow.Send("PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nten bytes!");
  EXPECT_EQ(slow.ReadToEnd(), "");
}

TEST_F(HttpServerTest, WhoDoesNotTakeItsAnswerIsCutOff) {
  HttpOptions options;
  options.patience.body = std::chrono::seconds(1);
  options.patience.min_bytes_per_second = 100'000'000;
  Start(options);
  RawClient slow(server_->port());
  slow.Send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.AwaitStreamEnd();
}

TEST_F(HttpServerTest, OthersAreServedWhileAsManyAsMayConnectTrickleTheirHeads) {
  HttpOptions options;
  options.patience.max_connections = 4;
  Start(options);
  std::vector<std::unique_ptr<RawClient>> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(std::make_unique<RawClient>(server_->port()));
    EXPECT_TRUE(slow.back()->Send("GET /echo HTTP/1.1\r\nX-Slow: "));
  }
  EXPECT_NE(Exchange(fmt::format("GET /letters?3 HTTP/1.1\r\n{}\r\n", kClose)).find("abc"),
            std::string::npos);
}

TEST_F(HttpServerTest, StopLetsRequestsInFlightEndAndTakesNoNewOnes) {
  RawClient client(server_->port());
  client.Send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  handler_.AwaitWaiting();
  std::thread stopper([this] { server_->Stop(std::chrono::minutes(1)); });
  handler_.Release();
  const std::string answer = client.ReadToEnd();
  stopper.join();
  EXPECT_EQ(Body(answer), "waited");
}

TEST_F(HttpServerTest, AnAddressInUseIsNamed) {
  HttpOptions options;
  options.port = server_->port();
  const Result<std::unique_ptr<HttpServer>> second = HttpServer::Start(options, handler_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.code(), StatusCode::kUnavailable);
  options.host = "localhost";
  EXPECT_EQ(HttpServer::Start(options, handler_).code(), StatusCode::kInvalidArgument);
}

TEST_F(HttpServerTest, WrongCertificatesAreRefusedAtStart) {
  HttpOptions options;
  options.tls_certificate_pem = "no certificate";
  options.tls_key_pem = "no key";
  EXPECT_EQ(HttpServer::Start(options, handler_).code(), StatusCode::kInvalidArgument);
}

TEST(ListenAddressTest, IsAnAddressAndAPort) {
  const auto parse = [](const char* text) {
    const Result<HostPort> parsed = ParseListenAddress(text);
    return parsed.ok() ? fmt::format("{} {}", parsed.value().host, parsed.value().port)
                       : std::string("refused");
  };
  EXPECT_EQ(parse("0.0.0.0:80"), "0.0.0.0 80");
  EXPECT_EQ(parse("[::1]:9000"), "::1 9000");
  EXPECT_EQ(parse(":0"), "127.0.0.1 0");
  EXPECT_EQ(parse("localhost:7"), "127.0.0.1 7");
  EXPECT_EQ(parse("9000"), "127.0.0.1 9000");
  for (const char* wrong : {"", "x", "1.2.3:4", "127.0.0.1:65536", "127.0.0.1:-1",
                            "127.0.0.1:", "example.com:80", "127.0.0.1:80x"}) {
    EXPECT_EQ(parse(wrong), "refused") << wrong;
  }
}

TEST(QueryTest, ParametersKeepTheirOrderAndMayLackValues) {
  const std::optional<Query> query = Query::Parse("b=1&&a&c=%26%3D+x&b=2");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->Get("b"), "1");
  EXPECT_TRUE(query->Has("a"));
  EXPECT_EQ(query->Get("c"), "&= x");
  EXPECT_FALSE(query->Has("d"));
  EXPECT_EQ(query->items().size(), 4u);
  for (const char* wrong : {"a=%", "a=%4", "%zz", "a=%g0"}) {
    EXPECT_FALSE(Query::Parse(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace sqlite_s3::server
