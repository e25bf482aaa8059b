#pragma once
// One HTTP exchange as values: what operations see of the network, so that they can be tested
// without sockets. Nothing here knows S3. Values: distinct objects may be used by distinct threads.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"

namespace sqlite_s3::server {

// Name and value pairs in the order of their arrival; names compare without case.
class Headers {
 public:
  using Item = std::pair<std::string, std::string>;
  void Add(std::string name, std::string value) {
    items_.emplace_back(std::move(name), std::move(value));
  }
  // Replaces all of that name.
  void Set(std::string_view name, std::string value);
  void Remove(std::string_view name);
  // The first of that name; null when there is none.
  const std::string* Find(std::string_view name) const;
  std::string Get(std::string_view name) const;
  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  const std::vector<Item>& items() const { return items_; }

 private:
  std::vector<Item> items_;
};

std::string_view TrimSpaces(std::string_view text);

// %XX decoded; nullopt at a malformed escape. '+' becomes a space when `plus_is_space`.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space);

// A query string's parameters, decoded, in order. A parameter without '=' has an empty value.
class Query {
 public:
  // nullopt at a malformed escape.
  static std::optional<Query> Parse(std::string_view text);
  const std::string* Find(std::string_view name) const;
  std::string Get(std::string_view name) const;
  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

// The head of a request. `path` and `query` are as they came, not decoded: signatures cover those.
struct Request {
  std::string method;
  std::string path;   // before the '?'
  std::string query;  // after it
  Headers headers;
  std::string remote;  // address of the peer, for logs
  bool tls = false;

  std::string target() const { return query.empty() ? path : path + "?" + query; }
};

// The bytes of a response that are not in memory. Read by one thread. Destroyed when sent, or when
// the client has gone.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  // Fills a part of `out` from where the last call ended; 0 at the end. An error aborts the
  // connection, for the status line has gone out.
  virtual Result<size_t> Read(std::span<uint8_t> out) = 0;
};

// What becomes of the connection with the answer.
enum class Ending : uint8_t {
  kNormal,  // as the client and the server's limits want it
  kClose,   // closed in order
  kReset,   // the peer sees a reset
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;                    // used when there is no stream
  std::unique_ptr<BodyStream> stream;  // exactly `stream_size` bytes
  uint64_t stream_size = 0;
  // HEAD: the length that a GET would have. Without it the body's.
  std::optional<uint64_t> head_content_length;
  Ending ending = Ending::kNormal;
  // The head and this many bytes of the body go out, then the connection ends as `ending` says.
  // kReset without it: no answer at all.
  std::optional<uint64_t> cut_after;
  uint64_t bytes_per_second = 0;  // 0: as fast as it goes

  uint64_t size() const { return stream ? stream_size : body.size(); }
};

// One request under way. Called by one thread, in this order: OnBody any number of times, then
// Finish. Destroyed without Finish when the client goes away: nothing may have happened then.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // Set after construction when the answer is known before the body (refused, not modified): the
  // body is then not asked for, and not read.
  virtual std::optional<Response> Early() { return std::nullopt; }
  // The next bytes. What fails here is kept and answered by Finish.
  virtual void OnBody(ByteSpan bytes) = 0;
  virtual Response Finish() = 0;
};

// Thread-safe: each connection has its own thread.
class Handler {
 public:
  virtual ~Handler() = default;
  // The head has arrived, the body has not. Never null.
  virtual std::unique_ptr<Exchange> Begin(Request request) = 0;
};

// For handlers whose answers need the whole body, which is at most `limit` bytes; beyond that the
// answer is `too_large`.
std::unique_ptr<Exchange> CollectBody(size_t limit, std::function<Response()> too_large,
                                      std::function<Response(std::string body)> answer);
// An answer that is known already.
std::unique_ptr<Exchange> AnswerNow(Response response);

}  // namespace sqlite_s3::server
