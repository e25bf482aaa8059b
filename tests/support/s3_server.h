#pragma once
// S3Server: a sqlite-s3-server process of the test's own, with one bucket, its credentials in this
// process's environment, and fault rules (docs/S3-SERVER.md).

#include <sys/types.h>

#include <string>

#include "common/store/open_store.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {

class S3Server {
 public:
  static constexpr const char* kBucket = "test";

  // `program`: the path of sqlite-s3-server. Throws std::runtime_error when it does not serve. Sets
  // AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: make the first one before there are threads.
  explicit S3Server(const std::string& program);
  ~S3Server();
  S3Server(const S3Server&) = delete;
  S3Server& operator=(const S3Server&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // "s3://test/PREFIX?endpoint=..."
  std::string Url(const std::string& prefix) const;
  // The bucket under `prefix`, by this client.
  StoreAddress Address(const std::string& prefix, const std::string& client = "libcurl") const;

  // A rule, or an array of them, as JSON. Throws when the server refuses it.
  void AddFault(const std::string& rule) { (void)Admin("POST", rule); }
  void ClearFaults() { (void)Admin("DELETE", ""); }
  // All rules with how often each was hit, as the server says it.
  std::string Faults() { return Admin("GET", ""); }
  // Of all rules together.
  int64_t FaultHits();

 private:
  std::string Admin(const std::string& method, const std::string& body);

  TempDir dir_;
  pid_t process_ = 0;
  int port_ = 0;
  int fault_port_ = 0;
};

}  // namespace sqlite_s3
