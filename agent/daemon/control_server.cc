#include "agent/daemon/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "agent/daemon/control_requests.h"
#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kControlThreads = 8;
constexpr size_t kMostRequestBytes = 64 << 10;
constexpr size_t kMostAnswerBytes = 256 << 20;
constexpr time_t kRequestSeconds = 5;
constexpr int kBacklog = 16;

Result<sockaddr_un> AddressOfSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return InvalidArgumentError("'" + path + "' cannot be the path of a socket, hint: at most " +
                                std::to_string(sizeof(address.sun_path) - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> Connect(const std::string& path) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOfSocket(path));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "socket");
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) {
      return NotFoundError("no agent listens at '" + path + "'");
    }
    return ErrnoStatus(errno, "connect to", path);
  }
  return fd;
}

// Up to a newline (kept out), the end, or too many bytes.
Result<std::string> ReadLine(const Fd& fd, size_t most) {
  std::string line;
  char buffer[4096];
  for (;;) {
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return ErrnoStatus(errno, "read from", "control socket");
    }
    line.append(buffer, static_cast<size_t>(got));
    const size_t end = line.find('\n');
    if (end != std::string::npos) {
      line.resize(end);
      return line;
    }
    if (got == 0) {
      return InvalidArgumentError("the connection ended in the middle of a line");
    }
    if (line.size() > most) {
      return ResourceExhaustedError("a line is too long");
    }
  }
}

void SendLine(const Fd& fd, const Json& json) {
  const std::string line =
      json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = send(fd.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) {
      return;  // whoever asked is gone
    }
    sent += n > 0 ? static_cast<size_t>(n) : 0;
  }
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& path,
                                                             Agent& agent) {
  ASSIGN_OR_RETURN(const sockaddr_un address, AddressOfSocket(path));
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) {
      return FailedPreconditionError("'" + path + "' is there and is not a socket");
    }
    if (Connect(path).ok()) {
      return FailedPreconditionError("another agent listens at '" + path + "'");
    }
    if (unlink(path.c_str()) != 0) {
      return ErrnoStatus(errno, "remove", path);
    }
  }
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return ErrnoStatus(errno, "open", "socket");
  }
  // Never visible with other modes, not even for a moment.
  const mode_t before = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_errno = errno;
  umask(before);
  if (bound != 0) {
    return ErrnoStatus(bind_errno, "make socket", path);
  }
  if (listen(fd.get(), kBacklog) != 0) {
    return ErrnoStatus(errno, "listen on", path);
  }
  return std::unique_ptr<ControlServer>(new ControlServer(path, std::move(fd), agent));
}

ControlServer::ControlServer(std::string path, Fd fd, Agent& agent)
    : path_(std::move(path)), fd_(std::move(fd)), agent_(agent), pool_(kControlThreads) {}

ControlServer::~ControlServer() {
  unlink(path_.c_str());
  fd_.Close();
  pool_.Finish();
}

void ControlServer::Accept() {
  Fd connection(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.valid()) {
    return;
  }
  // The mode keeps others out; this also holds where somebody changed it.
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != geteuid() && peer.uid != 0)) {
    return;
  }
  auto shared = std::make_shared<Fd>(std::move(connection));
  pool_.Post([this, shared] { Serve(std::move(*shared)); });
}

void ControlServer::Serve(Fd connection) {
  const timeval patience{kRequestSeconds, 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(connection.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  const auto line = ReadLine(connection, kMostRequestBytes);
  if (!line.ok()) {
    return;
  }
  const nlohmann::json request = nlohmann::json::parse(*line, nullptr, false);
  SendLine(connection, Answer(agent_, request));
}

Result<Json> AskAgent(const std::string& path, const nlohmann::json& request) {
  ASSIGN_OR_RETURN(const Fd fd, Connect(path));
  SendLine(fd, request);
  ASSIGN_OR_RETURN(const std::string line, ReadLine(fd, kMostAnswerBytes));
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object()) {
    return InternalError("the agent's answer is not JSON");
  }
  return answer;
}

}  // namespace sqlite_s3
