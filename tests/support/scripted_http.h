#pragma once
// ScriptedHttp: an HTTP/1.1 server on a loopback port that answers what the test says, byte by
// byte, and remembers what it was asked.

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sqlite_s3 {

struct ScriptedRequest {
  std::string method;
  std::string target;                          // path and query, as sent
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
  int connection = 0;  // 1 for the first one accepted
};

struct ScriptedReply {
  std::string bytes;             // status line, headers, body: exactly what is sent
  bool then_close = false;       // break the connection off after that
  std::string then_repeat = {};  // sent again and again until the client hangs up
};

// "HTTP/1.1 403 X", a Date header (unless `headers` has one), Content-Length, `headers` (each
// ending in \r\n), body.
ScriptedReply HttpReply(int status, const std::string& body = {}, const std::string& headers = {});
// An <Error> document with that code.
ScriptedReply S3Error(int status, const std::string& code, const std::string& headers = {});

class ScriptedHttp {
 public:
  using Handler = std::function<ScriptedReply(const ScriptedRequest&)>;

  // Each request is answered by `handler`, one at a time.
  explicit ScriptedHttp(Handler handler);
  // The replies in turn; a request beyond them is answered with 599.
  explicit ScriptedHttp(std::vector<ScriptedReply> replies);
  ~ScriptedHttp();
  ScriptedHttp(const ScriptedHttp&) = delete;
  ScriptedHttp& operator=(const ScriptedHttp&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<ScriptedRequest> requests() const;

 private:
  void Accept();
  void Serve(int fd, int connection);

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;  // all below
  std::vector<ScriptedRequest> requests_;
  std::vector<int> connections_;
  std::vector<std::thread> servers_;
  bool stopping_ = false;
};

}  // namespace sqlite_s3
