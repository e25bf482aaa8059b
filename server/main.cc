// sqlite-s3-server: the command line. Everything else is in the folders below.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string>
#include <string_view>

#include "common/base/exit_codes.h"
#include "server/config.h"
#include "server/run.h"

namespace sqlite_s3::server {
namespace {

constexpr char kName[] = "sqlite-s3-server";

int Fail(const Status& status) {
  std::fputs(fmt::format("{}: {}\n", kName, status.message()).c_str(), stderr);
  return ExitCodeFor(status.code());
}

// Everybody on the machine can read a command line while the process lives.
void HideSecrets(int argc, char** argv) {
  if (argc < 2) {
    return;
  }
  constexpr std::string_view kOption = "--secret-key";
  bool is_secret = false;  // this argument, for the one before is the option
  for (char* argument : std::span(argv, static_cast<size_t>(argc)).subspan(1)) {
    const std::string_view text = argument;
    if (is_secret) {
      std::memset(argument, 'x', text.size());
    } else if (text.starts_with(kOption) && text.substr(kOption.size()).starts_with('=')) {
      std::memset(argument + kOption.size() + 1, 'x', text.size() - kOption.size() - 1);
    }
    is_secret = !is_secret && text == kOption;
  }
}

struct CommandLine {
  Config config;
  std::string config_file;
  std::string listen;
  std::string metrics_listen;
  std::string faults_listen;
  std::string access_key;
  std::string secret_key;
  std::string synchronous;
  std::string region;
  std::string domain;
  unsigned max_connections = 0;
  unsigned max_connections_per_address = 0;
};

Status SetAddress(const std::string& text, HostPort& out, bool* present) {
  if (text.empty()) {
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(out, ParseListenAddress(text));
  if (present) {
    *present = true;
  }
  return Status::Ok();
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The file first, then the command line over it.
Status Assemble(CommandLine& line) {
  Config& config = line.config;
  const Config given = config;
  if (!line.config_file.empty()) {
    RETURN_IF_ERROR(ReadConfigFile(line.config_file, config));
    config.read_only |= given.read_only;
    config.allow_anonymous |= given.allow_anonymous;
    config.public_acls |= given.public_acls;
    config.log_requests |= given.log_requests;
    if (!given.tls_certificate_file.empty()) {
      config.tls_certificate_file = given.tls_certificate_file;
    }
    if (!given.tls_key_file.empty()) {
      config.tls_key_file = given.tls_key_file;
    }
  }
  RETURN_IF_ERROR(SetAddress(line.listen, config.listen, nullptr));
  RETURN_IF_ERROR(SetAddress(line.metrics_listen, config.metrics_listen, &config.metrics));
  RETURN_IF_ERROR(SetAddress(line.faults_listen, config.faults_listen, &config.faults));
  if (!line.domain.empty()) {
    config.domain = line.domain;
  }
  if (!line.region.empty()) {
    config.region = line.region;
  }
  if (line.max_connections != 0) {
    config.max_connections = line.max_connections;
  }
  if (line.max_connections_per_address != 0) {
    config.max_connections_per_address = line.max_connections_per_address;
  }
  if (!line.synchronous.empty()) {
    config.synchronous = line.synchronous == "full" ? Synchronous::kFull : Synchronous::kNormal;
  }
  const std::string access_key =
      line.access_key.empty() ? FromEnvironment("SQLITE_S3_ACCESS_KEY") : line.access_key;
  const std::string secret_key =
      line.secret_key.empty() ? FromEnvironment("SQLITE_S3_SECRET_KEY") : line.secret_key;
  if (access_key.empty() != secret_key.empty()) {
    return InvalidArgumentError("an access key needs a secret key and the other way round");
  }
  if (!access_key.empty()) {
    User user;
    user.name = user.access_key = access_key;
    user.secret_key = secret_key;
    config.users.push_back(std::move(user));
  }
  return CheckConfig(config);
}

int Main(int argc, char** argv) {
  CLI::App app("An S3 server whose buckets are SQLite files, DIR/BUCKET.sqlite3.", kName);
  app.set_version_flag("--version", std::string(kName) + " " SQLITE_S3_VERSION_TEXT);
  app.footer(
      "Keys may come from SQLITE_S3_ACCESS_KEY and SQLITE_S3_SECRET_KEY as well.\n"
      "Exit codes: 0 done, 2 usage, 3 not found, 4 refused, 5 corruption, 7 unavailable, "
      "8 permission, 9 resource, 70 internal.");
  CommandLine line;
  Config& config = line.config;
  app.add_option("directory", config.directory, "where the buckets are")->required();
  app.add_option("--listen", line.listen, "ADDRESS:PORT, 127.0.0.1:9000 by default; port 0: any");
  app.add_option("--port-file", config.port_file,
                 "a file that gets the chosen ports: s3, metrics, faults, a line each");
  app.add_option("--access-key", line.access_key, "a user with all rights");
  app.add_option("--secret-key", line.secret_key, "and its secret");
  app.add_option("--config", line.config_file, "a TOML file; the command line wins over it");
  app.add_option("--bucket", config.buckets,
                 "a bucket to make if it is not there; may be repeated");
  app.add_flag("--allow-anonymous", config.allow_anonymous,
               "requests without credentials may do everything");
  app.add_flag("--public-acls", config.public_acls,
               "what has a public ACL may be read without credentials");
  app.add_flag("--read-only", config.read_only, "nothing is written");
  app.add_option("--domain", line.domain, "BUCKET.DOMAIN in the Host header names a bucket");
  app.add_option("--region", line.region, "what the server says its region is (us-east-1)");
  app.add_option("--tls-cert", config.tls_certificate_file, "PEM file: serve HTTPS");
  app.add_option("--tls-key", config.tls_key_file, "PEM file");
  app.add_option("--synchronous", line.synchronous,
                 "normal: survives kill -9; full: and power loss")
      ->check(CLI::IsMember({"normal", "full"}));
  app.add_option("--max-connections", line.max_connections, "at once (512)")
      ->check(CLI::Range(1, 100000));
  app.add_option("--max-connections-per-address", line.max_connections_per_address,
                 "of one client (no limit)")
      ->check(CLI::Range(1, 100000));
  app.add_option("--metrics-listen", line.metrics_listen,
                 "loopback ADDRESS:PORT that answers /metrics");
  app.add_option("--enable-faults", line.faults_listen,
                 "loopback ADDRESS:PORT that takes fault rules. For tests only");
  app.add_flag("--log-requests", config.log_requests, "a line per request on standard error");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cout, std::cerr);
    return code == 0 ? 0 : kExitUsage;
  }
  HideSecrets(argc, argv);
  const Status assembled = Assemble(line);
  if (!assembled.ok()) {
    return Fail(assembled);
  }
  const Status ran = Run(config);
  return ran.ok() ? 0 : Fail(ran);
}

}  // namespace
}  // namespace sqlite_s3::server

int main(int argc, char** argv) {
  try {
    return sqlite_s3::server::Main(argc, argv);
  } catch (const std::exception& error) {  // std::bad_alloc and our bugs
    std::fputs(fmt::format("sqlite-s3-server: internal error: {}\n", error.what()).c_str(), stderr);
    return sqlite_s3::ExitCodeFor(sqlite_s3::StatusCode::kInternal);
  }
}
