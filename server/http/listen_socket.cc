#include "server/http/listen_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "common/os/errno_status.h"

namespace sqlite_s3::server {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

bool ToAddress(const std::string& host, uint16_t port, Address& out) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof(*v4);
    return true;
  }
  if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof(*v6);
    return true;
  }
  return false;
}

}  // namespace

Result<ListenSocket> Listen(const std::string& host, uint16_t port) {
  Address address;
  if (!ToAddress(host, port, address)) {
    return InvalidArgumentError(
        fmt::format("listen address '{}' is not an IPv4 or IPv6 address", host));
  }
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return ErrnoStatus(errno, "open", "a TCP socket");
  }
  const int on = 1;
  (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address.storage), address.size) != 0 ||
      ::listen(fd, 1024) != 0) {
    const int error = errno;
    ::close(fd);
    if (error == EADDRINUSE) {
      return UnavailableError(
          fmt::format("{}:{} is in use, hint: --listen with another port", host, port));
    }
    return ErrnoStatus(error, "listen on", fmt::format("{}:{}", host, port));
  }
  Address bound;
  bound.size = sizeof(bound.storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0) {
    const int error = errno;
    ::close(fd);
    return ErrnoStatus(error, "name", "the listening socket");
  }
  const uint16_t chosen =
      bound.storage.ss_family == AF_INET6
          ? ntohs(reinterpret_cast<const sockaddr_in6*>(&bound.storage)->sin6_port)
          : ntohs(reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port);
  return ListenSocket{fd, chosen};
}

Result<HostPort> ParseListenAddress(const std::string& text) {
  const Status malformed = InvalidArgumentError(
      fmt::format("listen address '{}' is malformed, hint: 127.0.0.1:9000 or [::1]:9000", text));
  HostPort out{"127.0.0.1", 0};
  std::string port = text;
  const size_t colon = text.rfind(':');
  if (colon != std::string::npos) {
    port = text.substr(colon + 1);
    std::string host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    if (host == "localhost") {
      host = "127.0.0.1";
    }
    if (!host.empty()) {
      out.host = host;
    }
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  Address address;
  if (error != std::errc() || end != port.data() + port.size() ||
      !ToAddress(out.host, out.port, address)) {
    return malformed;
  }
  return out;
}

bool IsLoopback(const std::string& host) { return host.rfind("127.", 0) == 0 || host == "::1"; }

}  // namespace sqlite_s3::server
