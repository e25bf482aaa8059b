#pragma once
// The server's configuration: a TOML file and the command line, in one validated struct.

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "server/auth/users.h"
#include "server/http/listen_socket.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::server {

struct Config {
  std::string directory;
  HostPort listen{"127.0.0.1", 9000};
  HostPort metrics_listen{"127.0.0.1", 0};
  bool metrics = false;
  HostPort faults_listen{"127.0.0.1", 0};
  bool faults = false;
  std::string port_file;
  std::vector<User> users;
  bool allow_anonymous = false;
  bool public_acls = false;
  std::vector<std::string> buckets;  // made at start if they are not there
  bool read_only = false;
  std::string domain;
  std::string region = "us-east-1";
  std::string tls_certificate_file;
  std::string tls_key_file;
  Synchronous synchronous = Synchronous::kNormal;
  unsigned max_connections = 512;
  unsigned max_connections_per_address = 0;  // no limit
  bool log_requests = false;
};

// Adds what the file says to `config`. The grammar is in docs/S3-SERVER.md; an unknown key is an
// error that names its line. Errors: kNotFound, kInvalidArgument, kPermissionDenied when others may
// read a file with secrets.
Status ReadConfigFile(const std::string& path, Config& config);

// What only the whole can tell: users or anonymous, both TLS files or none, listeners for metrics
// and faults on loopback. Errors: kInvalidArgument.
Status CheckConfig(const Config& config);

}  // namespace sqlite_s3::server
