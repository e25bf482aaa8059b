#pragma once
// S3Test: the service with real storage and without sockets. Requests are signed by the same
// library that verifies them, whose own tests hold the published examples.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/store/sigv4.h"
#include "server/s3/service.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3::server {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

// An answer with its body read to the end.
struct Seen {
  int status = 0;
  std::string body;
  Headers headers;
  uint64_t announced_bytes = 0;
  Ending ending = Ending::kNormal;
  std::optional<uint64_t> cut_after;
  // The text of the first element of that name in the body.
  std::string Element(const std::string& name) const;
  std::vector<std::string> Elements(const std::string& name) const;
  std::string code() const { return Element("Code"); }
};

class S3Test : public testing::Test {
 protected:
  S3Test();
  void SetUp() override { Start(); }
  void Start(StorageOptions storage = {}, ServiceOptions service = {},
             RequestInterceptor* interceptor = nullptr);

  // Signed by `user`. `target` is as on the wire: "/bucket/key?query". The body arrives in pieces
  // of `piece` bytes.
  Seen Send(const std::string& method, const std::string& target, const std::string& body = "",
            HeaderList headers = {});
  Seen Get(const std::string& target, HeaderList headers = {}) {
    return Send("GET", target, "", std::move(headers));
  }
  Seen Put(const std::string& target, const std::string& body, HeaderList headers = {}) {
    return Send("PUT", target, body, std::move(headers));
  }
  Request Signed(const std::string& method, const std::string& target, const std::string& body,
                 const HeaderList& headers) const;
  Seen Deliver(Request request, const std::string& body);
  // A whole upload of parts; answers Complete's answer.
  Seen Multipart(const std::string& target, const std::vector<std::string>& parts,
                 HeaderList create_headers = {}, HeaderList complete_headers = {});

  TempDir directory_;
  FakeClock clock_;
  Users users_;
  User user_;
  size_t piece_ = 1000;
  std::unique_ptr<BucketSet> buckets_;
  std::unique_ptr<Service> service_;
};

std::string Md5Base64Of(const std::string& text);

}  // namespace sqlite_s3::server
