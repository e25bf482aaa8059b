#include "agent/daemon/metrics_listener.h"

#include <microhttpd.h>
#include <netdb.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/os/errno_status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {
namespace {

constexpr unsigned kMostConnections = 32;
constexpr unsigned kIdleSeconds = 10;
constexpr size_t kConnectionMemory = 16 << 10;  // a request's head
constexpr int kBacklog = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Result<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  const Status wrong = InvalidArgumentError("option 'metrics': '" + text +
                                            "' is not ADDRESS:PORT, hint: 127.0.0.1:9464");
  if (colon == std::string::npos) {
    return wrong;
  }
  std::string host = text.substr(0, colon);
  const std::string port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty()) {
    host = "127.0.0.1";
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (port.empty() || getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) {
    return wrong;
  }
  Address address;
  address.size = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

Result<Fd> Bind(const std::string& text, uint16_t* port) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  auto* socket_address = reinterpret_cast<sockaddr*>(&address.storage);
  Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "socket");
  }
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd.get(), socket_address, address.size) != 0 || listen(fd.get(), kBacklog) != 0) {
    return errno == EADDRINUSE ? UnavailableError("'" + text + "' is in use")
                               : ErrnoStatus(errno, "listen on", text);
  }
  socklen_t size = sizeof(address.storage);
  getsockname(fd.get(), socket_address, &size);
  char digits[8] = "0";
  getnameinfo(socket_address, size, nullptr, 0, digits, sizeof(digits), NI_NUMERICSERV);
  *port = static_cast<uint16_t>(std::strtoul(digits, nullptr, 10));
  return fd;
}

class MicrohttpdListener : public MetricsListener {
 public:
  MicrohttpdListener(std::function<std::string()> metrics, std::function<HealthAnswer()> health)
      : metrics_(std::move(metrics)), health_(std::move(health)) {}
  ~MicrohttpdListener() override {
    if (daemon_ != nullptr) {
      MHD_stop_daemon(daemon_);  // closes the socket
    }
  }

  Status Run(const std::string& address) {
    ASSIGN_OR_RETURN(Fd fd, Bind(address, &port_));
    daemon_ = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, nullptr, nullptr,
                               &MicrohttpdListener::OnAccess, this, MHD_OPTION_EXTERNAL_LOGGER,
                               &MicrohttpdListener::OnLog, nullptr, MHD_OPTION_LISTEN_SOCKET,
                               fd.get(), MHD_OPTION_CONNECTION_LIMIT, kMostConnections,
                               MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionMemory,
                               MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds, MHD_OPTION_END);
    if (daemon_ == nullptr) {
      return ResourceExhaustedError("cannot start the thread for metrics");
    }
    fd.Release();  // its own now
    return Status::Ok();
  }

  uint16_t port() const override { return port_; }

 private:
  static void OnLog(void*, const char*, va_list) {}  // what clients do wrong is theirs

  // Called from C: nothing is thrown through it. The first call of a request has its head only.
  static MHD_Result OnAccess(void* self, MHD_Connection* connection, const char* url,
                             const char* method, const char*, const char*, size_t* body_size,
                             void** seen) noexcept {
    if (*seen == nullptr) {
      static char mark;
      *seen = &mark;
      return MHD_YES;
    }
    if (*body_size != 0) {
      *body_size = 0;  // of no interest, and an answer is not taken before its end
      return MHD_YES;
    }
    try {
      return static_cast<MicrohttpdListener*>(self)->Answer(connection, url, method);
    } catch (...) {
      return MHD_NO;
    }
  }

  MHD_Result Answer(MHD_Connection* connection, std::string_view path, std::string_view method) {
    unsigned status = MHD_HTTP_OK;
    std::string body;
    const char* type = "text/plain; charset=utf-8";
    if (method != "GET" && method != "HEAD") {
      status = MHD_HTTP_METHOD_NOT_ALLOWED;
    } else if (path == "/metrics") {
      body = metrics_();
      type = "text/plain; version=0.0.4; charset=utf-8";
    } else if (path == "/healthz") {
      const HealthAnswer health = health_();
      status = health.ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
      body = health.text + "\n";
    } else {
      status = MHD_HTTP_NOT_FOUND;
    }
    MHD_Response* response =
        MHD_create_response_from_buffer(body.size(), body.data(), MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) {
      return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    const MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
  }

  const std::function<std::string()> metrics_;
  const std::function<HealthAnswer()> health_;
  uint16_t port_ = 0;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace

Status CheckMetricsAddress(const std::string& address) { return ParseAddress(address).status(); }

Result<std::unique_ptr<MetricsListener>> MetricsListener::Start(
    const std::string& address, std::function<std::string()> metrics,
    std::function<HealthAnswer()> health) {
  auto listener = std::make_unique<MicrohttpdListener>(std::move(metrics), std::move(health));
  RETURN_IF_ERROR(listener->Run(address));
  return std::unique_ptr<MetricsListener>(std::move(listener));
}

}  // namespace sqlite_s3
