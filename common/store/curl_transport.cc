#include "common/store/curl_transport.h"
#include "common/base/ascii.h"
#include "common/base/cancellation.h"
#include "common/base/clock.h"

#include <curl/curl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <iterator>
#include <mutex>
#include <optional>

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxErrorBytes = 64 << 10;
constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr int64_t kIdleMicros = int64_t{60} * 1'000'000;  // of a handle; servers wait no longer
constexpr long kConnectionsPerHandle = 2;
constexpr long kBufferBytes = 64 << 10;
// Slower than this for that long is a connection that is stuck.
constexpr long kLowSpeedBytes = 1024;

// OpenSSL writes with write(2), which raises SIGPIPE on a closed connection; libcurl keeps its
// hands off signals when told to (CURLOPT_NOSIGNAL), so we keep this one from the host.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigset_t pending;
    sigemptyset(&pending);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    blocked_ = pthread_sigmask(SIG_BLOCK, &pipe_, &before_) == 0;
  }
  ~SigpipeBlocked() {
    if (!blocked_) return;
    if (!was_pending_) {
      timespec now{};
      while (sigtimedwait(&pipe_, nullptr, &now) > 0) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t pipe_, before_;
  bool was_pending_ = false;
  bool blocked_ = false;
};

// What the callbacks fill. They are called from C: nothing is thrown through it.
struct Exchange {
  HttpResponse response;
  uint64_t max_body = 0;
  size_t header_bytes = 0;
  bool bad_headers = false;
  bool out_of_memory = false;

  uint64_t BodyLimit() const {
    bool success = response.status >= 200 && response.status < 300;
    return success ? max_body : std::min(kMaxErrorBytes, std::max<uint64_t>(max_body, 4096));
  }
};

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && std::strchr(" \t\r\n", text.front()) != nullptr) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back()) != nullptr) text.remove_suffix(1);
  return text;
}

void TakeHeaderLine(Exchange& exchange, std::string_view line) {
  HttpResponse& response = exchange.response;
  if (line.starts_with("HTTP/")) {  // again after "100 Continue"
    response = HttpResponse{};
    size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), response.status);
    }
    response.framed = line.starts_with("HTTP/2") || line.starts_with("HTTP/3");
    return;
  }
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    return;
  }
  std::string name = ToLower(line.substr(0, colon));
  std::string_view value = Trimmed(line.substr(colon + 1));
  if (name == "content-length") {
    response.framed = true;
    uint64_t length = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc() && length <= exchange.BodyLimit()) {
      response.body.reserve(length);
    }
  } else if (name == "transfer-encoding") {
    response.framed = true;
  }
  response.headers.emplace_back(std::move(name), std::string(value));
}

int OnProgress(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return CancelScope::Cancelled() ? 1 : 0;
}

size_t OnHeader(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.header_bytes += size;
  if (exchange.header_bytes > kMaxHeaderBytes) {
    exchange.bad_headers = true;
    return 0;
  }
  try {
    TakeHeaderLine(exchange, {data, size});
  } catch (...) {
    exchange.out_of_memory = true;
    return 0;
  }
  return size;
}

size_t OnBody(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  Bytes& body = exchange.response.body;
  uint64_t room = exchange.BodyLimit() - body.size();
  size_t taken = static_cast<size_t>(std::min<uint64_t>(size, room));
  try {
    body.insert(body.end(), data, data + taken);
  } catch (...) {
    exchange.out_of_memory = true;
    return 0;
  }
  if (taken < size) {
    exchange.response.too_large = true;
    return 0;
  }
  return size;
}

// Of one process: a child that finds its parent's pool leaves it alone, mutex and all, and leaks
// it. Closing a connection here would say goodbye on the parent's.
struct Pool {
  const pid_t owner = getpid();
  std::mutex mutex;
  struct Idle {
    CURL* handle;  // all options that no request changes are set
    std::string host;
    int64_t since_us;
  };
  std::vector<Idle> idle;  // guarded by mutex; the one used last at the end

  ~Pool() {
    SigpipeBlocked guard;
    for (const Idle& one : idle) curl_easy_cleanup(one.handle);
  }
};

Status StatusOf(CURLcode code, const char* detail, const HttpRequest& request) {
  std::string what = request.method + " " + request.url.substr(0, request.url.find('?')) + ": " +
                     (detail[0] != '\0' ? detail : curl_easy_strerror(code));
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return CancelledError(request.method + " " + request.url.substr(0, request.url.find('?')) +
                            ": no longer waited for");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return FailedPreconditionError(
          what + ", hint: ca_file names the certificates of an authority of one's own");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return InvalidArgumentError(what);
    case CURLE_OUT_OF_MEMORY:
      return ResourceExhaustedError(what);
    default:
      return UnavailableError(what);
  }
}

class CurlTransport : public HttpTransport {
 public:
  explicit CurlTransport(CurlTransportOptions options)
      : options_(std::move(options)), pool_(new Pool) {}

  ~CurlTransport() override {
    Pool* pool = pool_.load();
    if (pool->owner == getpid()) delete pool;
  }

  Result<HttpResponse> Send(const HttpRequest& request) override {
    Pool& pool = OurPool();
    const std::string host = HostOf(request.url);
    CURL* handle = Take(pool, host);
    if (handle == nullptr) {
      return ResourceExhaustedError("libcurl gives no handle");
    }
    SigpipeBlocked guard;
    auto result = Perform(handle, request);
    GiveBack(pool, handle, host);
    return result;
  }

 private:
  Pool& OurPool() {
    Pool* pool = pool_.load();
    while (pool->owner != getpid()) {
      auto fresh = std::make_unique<Pool>();
      if (pool_.compare_exchange_strong(pool, fresh.get())) {
        pool = fresh.release();
      }
    }
    return *pool;
  }

  // "https://host:port/..." -> "https://host:port"
  static std::string HostOf(const std::string& url) {
    const size_t scheme = url.find("://");
    return url.substr(0, scheme == std::string::npos ? 0 : url.find('/', scheme + 3));
  }

  // One that was at this host, the last of them: its connection is the least idle.
  CURL* Take(Pool& pool, const std::string& host) const {
    {
      std::lock_guard lock(pool.mutex);
      const auto at = std::find_if(pool.idle.rbegin(), pool.idle.rend(),
                                   [&](const Pool::Idle& one) { return one.host == host; });
      if (at != pool.idle.rend()) {
        CURL* handle = at->handle;
        pool.idle.erase(std::next(at).base());
        return handle;
      }
    }
    return NewHandle();
  }

  void GiveBack(Pool& pool, CURL* handle, const std::string& host) const {
    const int64_t now = Clock::Real().MonotonicMicros();
    std::vector<CURL*> ends;
    {
      std::lock_guard lock(pool.mutex);
      pool.idle.push_back({handle, host, now});
      size_t few = 0;  // the longest idle come first
      while (few < pool.idle.size() && (pool.idle.size() - few > options_.max_idle ||
                                        now - pool.idle[few].since_us > kIdleMicros)) {
        ends.push_back(pool.idle[few++].handle);
      }
      pool.idle.erase(pool.idle.begin(), pool.idle.begin() + static_cast<ptrdiff_t>(few));
    }
    for (CURL* end : ends) curl_easy_cleanup(end);
  }

  // With all options that no request changes: setting forty for each is a good part of what a small
  // request costs.
  CURL* NewHandle() const {
    CURL* handle = curl_easy_init();
    if (handle == nullptr) {
      return nullptr;
    }
    auto set = [&](CURLoption option, auto value) { curl_easy_setopt(handle, option, value); };
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_2TLS});
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
    if (!options_.ca_file.empty()) set(CURLOPT_CAINFO, options_.ca_file.c_str());
    set(CURLOPT_MAXCONNECTS, kConnectionsPerHandle);
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_BUFFERSIZE, kBufferBytes);
    set(CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
    set(CURLOPT_LOW_SPEED_LIMIT, kLowSpeedBytes);
    set(CURLOPT_NOPROGRESS, 0L);  // asked at least once a second, also when nothing moves
    set(CURLOPT_XFERINFOFUNCTION, &OnProgress);
    set(CURLOPT_HEADERFUNCTION, &OnHeader);
    set(CURLOPT_WRITEFUNCTION, &OnBody);
    return handle;
  }

  Result<HttpResponse> Perform(CURL* handle, const HttpRequest& request);

  const CurlTransportOptions options_;
  std::atomic<Pool*> pool_;
};

Result<HttpResponse> CurlTransport::Perform(CURL* handle, const HttpRequest& request) {
  Exchange exchange;
  exchange.max_body = request.max_response_bytes;
  char detail[CURL_ERROR_SIZE] = "";
  // libcurl only reads the list, so it need not be of its making.
  std::vector<std::string> lines;
  lines.reserve(request.headers.size() + 3);
  bool typed = false;
  for (const auto& [name, value] : request.headers) {
    if (name == "host") continue;
    typed = typed || name == "content-type";
    std::string& line = lines.emplace_back();
    line.reserve(name.size() + value.size() + 2);
    line += name;
    // "name;" is how libcurl is asked for a header without a value.
    line += value.empty() ? ";" : ": ";
    line += value;
  }
  if (!typed) lines.emplace_back("Content-Type:");
  lines.emplace_back("Expect:");  // "100 Continue" costs a round trip, or a second where none comes
  lines.emplace_back("Accept:");
  std::vector<curl_slist> list(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    list[i] = {lines[i].data(), i + 1 < lines.size() ? &list[i + 1] : nullptr};
  }

  auto set = [&](CURLoption option, auto value) { curl_easy_setopt(handle, option, value); };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_NOPROXY, request.use_proxy ? nullptr : "*");  // null: what the environment says
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_timeout.count()));
  set(CURLOPT_ERRORBUFFER, detail);
  set(CURLOPT_HTTPHEADER, list.data());
  set(CURLOPT_HEADERDATA, &exchange);
  set(CURLOPT_WRITEDATA, &exchange);
  set(CURLOPT_HTTPGET, 1L);  // whatever the handle sent last
  if (request.has_body) {
    // Not CURLOPT_UPLOAD: this way a small body leaves with its headers in one send(2).
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS,
        request.body.empty() ? "" : reinterpret_cast<const char*>(request.body.data()));
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  }
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());

  const CURLcode code = curl_easy_perform(handle);
  // Nothing of this exchange may be pointed at by a handle that waits for the next.
  set(CURLOPT_HTTPHEADER, static_cast<curl_slist*>(nullptr));
  set(CURLOPT_POSTFIELDS, static_cast<char*>(nullptr));
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr));
  set(CURLOPT_HEADERDATA, static_cast<void*>(nullptr));
  set(CURLOPT_WRITEDATA, static_cast<void*>(nullptr));
  if (exchange.out_of_memory) {
    return StatusOf(CURLE_OUT_OF_MEMORY, "", request);
  }
  if (exchange.bad_headers) {
    return StatusOf(CURLE_RECV_ERROR, "the answer's headers are too large", request);
  }
  if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && exchange.response.too_large)) {
    return StatusOf(code, detail, request);
  }
  return std::move(exchange.response);
}

}  // namespace

Result<std::shared_ptr<HttpTransport>> NewCurlTransport(const CurlTransportOptions& options) {
  // Thread-safe, and counted: the host may use libcurl too. Never undone: threads may run this
  // code until the process ends.
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) {
    return InternalError(std::string("libcurl: ") + curl_easy_strerror(started));
  }
  return std::shared_ptr<HttpTransport>(std::make_shared<CurlTransport>(options));
}

Result<std::shared_ptr<HttpTransport>> SharedTransports::Get(const std::string& ca_file) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<HttpTransport>& transport = transports_[ca_file];
  if (!transport) {
    ASSIGN_OR_RETURN(transport, NewCurlTransport({.ca_file = ca_file, .max_idle = kMaxIdle}));
  }
  return transport;
}

}  // namespace sqlite_s3
