// client_overhead: what our S3 client costs over libcurl itself: one PUT of ours against one PUT of
// the same bytes over a bare easy handle, both over kept connections.
//
// The baseline does what the protocol asks of every client: the SHA-256 of the body and the
// signature of each request, with a signing key that is derived once and the fastest code for both
// (ours). It sends the same headers and does nothing else: the checksum is computed beforehand, and
// it looks at no answer and no credentials. The figures "presigned" leave hash and signature out of
// the baseline too; they say what these cost, and have no goal.
//
// With S3_TEST_ENDPOINT and S3_TEST_BUCKET, and credentials in the environment, against that
// server. Without, against a server of its own that does the least a server can do: it reads the
// body, compares its SHA-256, as every server of S3 must, and says 200. The goal is for a server
// that stores what it is given.

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "bench/support.h"
#include "common/store/s3_checksum.h"
#include "common/store/s3_store.h"
#include "common/store/sigv4.h"

namespace sqlite_s3::bench {
namespace {

// Answers PUTs until its end of the connection closes.
void Serve(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  std::string buffer;
  Bytes chunk(256 << 10);
  while (true) {
    size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
      if (n <= 0) return;
      buffer.append(reinterpret_cast<char*>(chunk.data()), static_cast<size_t>(n));
    }
    size_t at = buffer.find("Content-Length: ");
    size_t length = at < end ? std::strtoul(buffer.c_str() + at + 16, nullptr, 10) : 0;
    while (buffer.size() < end + 4 + length) {
      ssize_t n = recv(fd, chunk.data(), chunk.size(), 0);
      if (n <= 0) return;
      buffer.append(reinterpret_cast<char*>(chunk.data()), static_cast<size_t>(n));
    }
    const std::string hash = Sha256Hex(AsBytes(std::string_view(buffer).substr(end + 4, length)));
    const bool same = buffer.find(hash) < end;
    const std::string answer =
        std::string(same ? "HTTP/1.1 200 OK" : "HTTP/1.1 400 Bad Request") +
        "\r\nDate: Fri, 24 May 2013 00:00:00 GMT\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n";
    if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
    buffer.clear();
  }
}

void PinTo(size_t processor) {
  if (std::thread::hardware_concurrency() < 2) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  (void)sched_setaffinity(0, sizeof(set), &set);  // a refusal costs precision only
}

// A process of its own, which ends with this one.
class Server {
 public:
  Server() {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener < 0 || bind(listener, generic, length) != 0 || listen(listener, 8) != 0 ||
        getsockname(listener, generic, &length) != 0) {
      Die("no socket on the loopback");
    }
    port_ = ntohs(address.sin_port);
    child_ = fork();
    // Each side has a processor of its own, where there are two: whether the scheduler puts them on
    // one or not changes a small request's time threefold.
    PinTo(child_ == 0 ? 1 : 0);
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      while (true) {
        int fd = accept(listener, nullptr, nullptr);
        if (fd < 0) _exit(1);
        std::thread([fd] {
          Serve(fd);
          close(fd);
        }).detach();
      }
    }
    close(listener);
    if (child_ < 0) Die("fork failed");
  }
  ~Server() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  std::string endpoint() const { return fmt::format("http://127.0.0.1:{}", port_); }

 private:
  pid_t child_ = -1;
  int port_ = 0;
};

constexpr char kRegion[] = "us-east-1";

struct Target {
  std::string endpoint, bucket, id, secret;
  bool stores = true;
};

class RawPut {
 public:
  RawPut(const Target& target, ByteSpan body, bool presigned)
      : target_(target),
        body_(body),
        presigned_(presigned),
        handle_(curl_easy_init()),
        checksum_(Crc32cBase64(body)) {
    request_.method = "PUT";
    request_.path = "/" + target.bucket + "/bench-raw";
    const std::string now = FormatAmzDate(Clock::Real().WallMicros());
    key_ = DeriveSigningKey(target.secret, now.substr(0, 8), kRegion, "s3");
    Sign();
    curl_easy_setopt(handle_, CURLOPT_URL, (target.endpoint + request_.path).c_str());
    curl_easy_setopt(handle_, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle_, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(handle_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle_, CURLOPT_FAILONERROR, 1L);
  }
  ~RawPut() {
    curl_easy_cleanup(handle_);
    curl_slist_free_all(headers_);
  }
  RawPut(const RawPut&) = delete;
  RawPut& operator=(const RawPut&) = delete;
  void Send() {
    if (!presigned_) Sign();
    if (curl_easy_perform(handle_) != CURLE_OK) Die("the bare PUT failed");
  }

 private:
  void Sign() {
    const std::string date = FormatAmzDate(Clock::Real().WallMicros());
    request_.payload_hash = Sha256Hex(body_);
    request_.headers = {{"host", target_.endpoint.substr(7)},
                        {"x-amz-date", date},
                        {"x-amz-content-sha256", request_.payload_hash},
                        {"content-type", "application/octet-stream"},
                        {"x-amz-checksum-crc32c", checksum_}};
    const SigningIdentity identity = {.access_key_id = target_.id,
                                      .secret_access_key = target_.secret,
                                      .session_token = "",
                                      .region = kRegion};
    const std::string authorization = AuthorizationHeader(request_, date, identity, key_);
    curl_slist_free_all(headers_);
    headers_ = nullptr;
    for (const auto& [name, value] : request_.headers) Header(name + ": " + value);
    Header("authorization: " + authorization);
    Header("Expect:");
    curl_easy_setopt(handle_, CURLOPT_HTTPHEADER, headers_);
  }
  void Header(const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); }

  const Target& target_;
  const ByteSpan body_;
  const bool presigned_;
  CURL* handle_;
  const std::string checksum_;
  Sha256Hash key_{};
  SignedRequest request_;
  curl_slist* headers_ = nullptr;
};

template <typename F>
double SecondsEach(int count, F send) {
  const double start = Now();
  for (int i = 0; i < count; ++i) send();
  return (Now() - start) / count;
}

void Measure(const Arguments& arguments, const Target& target, size_t size,
             const std::string& label, bool presigned) {
  const std::string name = "client_overhead/put_" + label + (presigned ? "_presigned" : "");
  if (!arguments.Wants(name)) return;
  Bytes body(size);
  for (size_t i = 0; i < size; ++i) body[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  S3StoreOptions options;
  options.address.bucket = target.bucket;
  options.address.endpoint = target.endpoint;
  options.address.region = kRegion;
  options.environment = [&](const std::string& variable) -> std::optional<std::string> {
    if (variable == "AWS_ACCESS_KEY_ID") return target.id;
    if (variable == "AWS_SECRET_ACCESS_KEY") return target.secret;
    return std::nullopt;
  };
  auto store = Must(OpenS3Store(options), "open store");
  RawPut raw(target, body, presigned);
  auto ours = [&] { Must(store->Put("bench-ours", body).status(), "put"); };
  auto bare = [&] { raw.Send(); };
  ours();
  bare();
  const int count = arguments.quick ? 5 : size > 100'000 ? 5 : 25;
  Pairs pairs;
  for (int i = 0; i < arguments.Pairs(target.stores ? 40 : 150); ++i) {
    const double a = SecondsEach(count, ours);
    const double b = SecondsEach(count, bare);
    pairs.Add(a * 1e6, b * 1e6);
  }
  Print(target.stores && !presigned ? pairs.ToFigure(name, "us", Goal::kRatioAtMost, 1.10)
                                    : pairs.ToFigure(name, "us"));
}

void Run(const Arguments& arguments) {
  Target target;
  std::unique_ptr<Server> server;
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  target.endpoint = variable("S3_TEST_ENDPOINT");
  target.bucket = variable("S3_TEST_BUCKET");
  target.id = variable("AWS_ACCESS_KEY_ID");
  target.secret = variable("AWS_SECRET_ACCESS_KEY");
  if (target.endpoint.empty() || target.bucket.empty()) {
    server = std::make_unique<Server>();
    target = {server->endpoint(), "bucket", "x", "x", false};
  }
  const std::string at = target.stores ? "stored_" : "";
  for (bool presigned : {false, true}) {
    Measure(arguments, target, 4 << 10, at + "4KiB", presigned);
    Measure(arguments, target, 64 << 10, at + "64KiB", presigned);
    Measure(arguments, target, 1 << 20, at + "1MiB", presigned);
  }
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  sqlite_s3::bench::Run(sqlite_s3::bench::ParseArguments(argc, argv));
  return 0;
}
