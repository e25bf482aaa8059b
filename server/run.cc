#include "server/run.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

#include "common/os/errno_status.h"
#include "server/faults/fault_injector.h"
#include "server/http/http_server.h"
#include "server/metrics.h"
#include "server/s3/service.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::server {
namespace {

// How long requests in flight may take after a signal.
constexpr std::chrono::seconds kStopGrace{10};

Result<std::string> ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return ErrnoStatus(errno, "open", path);
  }
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Written beside and renamed: whoever waits for the file reads all of it.
Status WritePortFile(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".tmp";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << text;
    out.flush();
    if (!out) {
      return IoError(fmt::format("cannot write {}", temporary));
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, "rename", temporary);
  }
  return Status::Ok();
}

Status MakeBuckets(const Config& config, BucketSet& buckets) {
  const std::string owner = config.users.empty() ? "anonymous" : config.users.front().name;
  for (const std::string& name : config.buckets) {
    if (buckets.Get(name).ok()) {
      continue;  // also read-only, where Create is refused whatever is there
    }
    const StorageStatus made = buckets.Create(name, owner).status();
    if (!made.ok()) {
      return made.status().WithContext("bucket '" + name + "'");
    }
  }
  return Status::Ok();
}

// Few connections, all from this machine.
Result<std::unique_ptr<HttpServer>> StartSide(const HostPort& address, Handler& handler) {
  HttpOptions options;
  options.host = address.host;
  options.port = address.port;
  options.patience.max_connections = 32;
  return HttpServer::Start(options, handler);
}

}  // namespace

Status Run(const Config& config) {
  // Blocked before any thread is made: all inherit it, and sigwait below is the only taker.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  StorageOptions storage;
  storage.read_only = config.read_only;
  storage.synchronous = config.synchronous;
  ASSIGN_OR_RETURN(const std::unique_ptr<BucketSet> buckets,
                   BucketSet::Open(config.directory, storage));
  RETURN_IF_ERROR(MakeBuckets(config, *buckets));
  const Users users(config.users);
  ServiceOptions options;
  options.region = config.region;
  options.domain = config.domain;
  options.allow_anonymous = config.allow_anonymous;
  options.public_acls = config.public_acls;
  const std::unique_ptr<Metrics> metrics = Metrics::Create(*buckets, config.log_requests);
  FaultRules rules;
  FaultInjector injector(rules);
  FaultAdmin fault_admin(rules);
  Service service(*buckets, users, options, Clock::Real(), metrics.get(),
                  config.faults ? &injector : nullptr);

  HttpOptions http;
  http.host = config.listen.host;
  http.port = config.listen.port;
  http.patience.max_connections = config.max_connections;
  http.max_connections_per_address = config.max_connections_per_address;
  if (!config.tls_key_file.empty()) {
    ASSIGN_OR_RETURN(http.tls_certificate_pem, ReadText(config.tls_certificate_file));
    ASSIGN_OR_RETURN(http.tls_key_pem, ReadText(config.tls_key_file));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<HttpServer> server, HttpServer::Start(http, service));
  std::string ports = fmt::format("s3 {}\n", server->port());
  std::unique_ptr<HttpServer> metrics_server;
  if (config.metrics) {
    ASSIGN_OR_RETURN(metrics_server, StartSide(config.metrics_listen, *metrics));
    ports += fmt::format("metrics {}\n", metrics_server->port());
  }
  std::unique_ptr<HttpServer> fault_server;
  if (config.faults) {
    ASSIGN_OR_RETURN(fault_server, StartSide(config.faults_listen, fault_admin));
    ports += fmt::format("faults {}\n", fault_server->port());
    std::fputs("sqlite-s3-server: faults are enabled; this server is for tests\n", stderr);
  }
  if (!config.port_file.empty()) {
    RETURN_IF_ERROR(WritePortFile(config.port_file, ports));
  }
  const bool v6 = config.listen.host.find(':') != std::string::npos;
  std::fputs(fmt::format("serving {} on {}://{}{}{}:{}\n", config.directory,
                         http.tls_key_pem.empty() ? "http" : "https", v6 ? "[" : "",
                         config.listen.host, v6 ? "]" : "", server->port())
                 .c_str(),
             stdout);
  std::fflush(stdout);

  int signal_number = 0;
  while (sigwait(&signals, &signal_number) != 0) {
  }
  rules.Clear();  // who is being delayed goes on
  server->Stop(kStopGrace);
  return Status::Ok();
}

}  // namespace sqlite_s3::server
