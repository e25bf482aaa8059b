#include "tests/support/scripted_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "common/base/clock.h"
#include "common/store/http_date.h"

namespace sqlite_s3 {
namespace {

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

// Reads one request; false at the end of the connection. `buffer` keeps what came after it.
bool ReadRequest(int fd, std::string& buffer, ScriptedRequest& out) {
  auto more = [&] {
    char chunk[65536];
    ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
    if (n <= 0) return false;
    buffer.append(chunk, static_cast<size_t>(n));
    return true;
  };
  size_t end = 0;
  while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
    if (!more()) return false;
  }
  std::string head = buffer.substr(0, end + 2);
  buffer.erase(0, end + 4);
  size_t line_end = head.find("\r\n");
  std::string line = head.substr(0, line_end);
  size_t first = line.find(' ');
  size_t last = line.rfind(' ');
  out.method = line.substr(0, first);
  out.target = line.substr(first + 1, last - first - 1);
  for (size_t at = line_end + 2; at < head.size();) {
    size_t stop = head.find("\r\n", at);
    std::string header = head.substr(at, stop - at);
    at = stop + 2;
    size_t colon = header.find(':');
    std::string name = header.substr(0, colon);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    size_t value = header.find_first_not_of(' ', colon + 1);
    out.headers[name] = value == std::string::npos ? "" : header.substr(value);
  }
  size_t length = 0;
  if (auto found = out.headers.find("content-length"); found != out.headers.end()) {
    length = std::stoul(found->second);
  }
  // libs3 takes no other answer to it.
  if (out.headers.contains("expect") && !SendAll(fd, "HTTP/1.1 100 Continue\r\n\r\n")) return false;
  while (buffer.size() < length) {
    if (!more()) return false;
  }
  out.body = buffer.substr(0, length);
  buffer.erase(0, length);
  return true;
}

}  // namespace

ScriptedReply HttpReply(int status, const std::string& body, const std::string& headers) {
  std::string bytes = "HTTP/1.1 " + std::to_string(status) + " X\r\n" + headers;
  if (headers.find("Date:") == std::string::npos) {
    bytes += "Date: " + FormatHttpDate(Clock::Real().WallMicros()) + "\r\n";
  }
  if (headers.find("Content-Length:") == std::string::npos && status != 204) {
    bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return {bytes + "\r\n" + body};
}

ScriptedReply S3Error(int status, const std::string& code, const std::string& headers) {
  return HttpReply(status,
                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code +
                       "</Code><Message>as scripted</Message></Error>",
                   headers);
}

ScriptedHttp::ScriptedHttp(std::vector<ScriptedReply> replies)
    : ScriptedHttp([left = std::make_shared<std::deque<ScriptedReply>>(
                        replies.begin(), replies.end())](const ScriptedRequest&) {
        if (left->empty()) return HttpReply(599);
        ScriptedReply reply = left->front();
        left->pop_front();
        return reply;
      }) {}

ScriptedHttp::ScriptedHttp(Handler handler) : handler_(std::move(handler)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || bind(listener_, generic, length) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, generic, &length) != 0) {
    std::perror("ScriptedHttp");
    std::abort();
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedHttp::~ScriptedHttp() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (int fd : connections_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& server : servers_) server.join();
  for (int fd : connections_) close(fd);
  close(listener_);
}

void ScriptedHttp::Accept() {
  while (true) {
    int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    std::lock_guard lock(mutex_);
    connections_.push_back(fd);
    if (stopping_) return;
    int number = static_cast<int>(connections_.size());
    servers_.emplace_back([this, fd, number] { Serve(fd, number); });
  }
}

void ScriptedHttp::Serve(int fd, int connection) {
  std::string buffer;
  while (true) {
    ScriptedRequest request;
    if (!ReadRequest(fd, buffer, request)) break;
    request.connection = connection;
    ScriptedReply reply;
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
      reply = handler_(request);
    }
    bool open = SendAll(fd, reply.bytes);
    while (open && !reply.then_repeat.empty()) open = SendAll(fd, reply.then_repeat);
    if (!open || reply.then_close) break;
  }
  shutdown(fd, SHUT_RDWR);
}

std::vector<ScriptedRequest> ScriptedHttp::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

}  // namespace sqlite_s3
