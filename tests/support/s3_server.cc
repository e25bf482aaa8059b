#include "tests/support/s3_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "common/os/fd.h"
#include "common/os/file.h"

extern char** environ;

namespace sqlite_s3 {
namespace {

constexpr const char* kAccessKey = "test-access-key";
constexpr const char* kSecretKey = "test-secret-key";

}  // namespace

S3Server::S3Server(const std::string& program) {
  setenv("AWS_ACCESS_KEY_ID", kAccessKey, 1);
  setenv("AWS_SECRET_ACCESS_KEY", kSecretKey, 1);
  setenv("SQLITE_S3_ACCESS_KEY", kAccessKey, 1);
  setenv("SQLITE_S3_SECRET_KEY", kSecretKey, 1);
  const std::string buckets = dir_.File("buckets");
  const std::string ports = dir_.File("ports");
  if (!MakeDirectories(buckets, 0700, Durability::kVisible).ok()) {
    throw std::runtime_error("cannot make " + buckets);
  }
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe");
  }
  const Fd read_end(out[0]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  const char* argv[] = {program.c_str(),   buckets.c_str(), "--listen",    "127.0.0.1:0",
                        "--bucket",        kBucket,         "--port-file", ports.c_str(),
                        "--enable-faults", "127.0.0.1:0",   nullptr};
  const int failed =
      posix_spawn(&process_, program.c_str(), &actions, nullptr, const_cast<char**>(argv), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  if (failed != 0) {
    throw std::runtime_error("cannot start " + program);
  }
  // It says a line when it serves; the end of the pipe says that it never will.
  char byte = 0;
  while (read(read_end.get(), &byte, 1) == 1 && byte != '\n') {
  }
  auto text = ReadFile(ports, 1000);
  if (byte != '\n' || !text.ok()) {
    throw std::runtime_error(program + " does not serve");
  }
  std::istringstream lines(std::string(text->begin(), text->end()));
  std::string name;
  for (int port = 0; lines >> name >> port;) {
    (name == "s3" ? port_ : name == "faults" ? fault_port_ : port) = port;
  }
}

S3Server::~S3Server() {
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

std::string S3Server::Url(const std::string& prefix) const {
  return std::string("s3://") + kBucket + "/" + prefix + "?endpoint=" + endpoint();
}

StoreAddress S3Server::Address(const std::string& prefix, const std::string& client) const {
  StoreAddress address;
  address.scheme = "s3";
  address.s3.client = client;
  address.s3.endpoint = endpoint();
  address.s3.bucket = kBucket;
  address.s3.prefix = prefix;
  return address;
}

std::string S3Server::Admin(const std::string& method, const std::string& body) {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(fault_port_));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
    throw std::runtime_error("the fault listener does not answer");
  }
  const std::string request = method +
                              " /rules HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
                              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  std::string answer;
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
      static_cast<ssize_t>(request.size())) {
    char buffer[4096];
    for (ssize_t n; (n = recv(fd.get(), buffer, sizeof(buffer), 0)) > 0;) {
      answer.append(buffer, static_cast<size_t>(n));
    }
  }
  if (answer.compare(0, 10, "HTTP/1.1 2") != 0) {
    throw std::runtime_error(method + " of fault rule " + body + ": " + answer);
  }
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

int64_t S3Server::FaultHits() {
  int64_t hits = 0;
  const auto rules = nlohmann::json::parse(Faults());
  for (const auto& rule : rules.is_array() ? rules : rules.at("rules")) {
    hits += rule.at("hits").get<int64_t>();
  }
  return hits;
}

}  // namespace sqlite_s3
