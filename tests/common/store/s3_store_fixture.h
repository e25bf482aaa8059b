// A store of the S3 driver at a server that answers as a test scripts it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/store/s3_store.h"
#include "tests/support/scripted_http.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {

inline constexpr char kSecret[] = "canary-secret-0123456789";
inline constexpr char kToken[] = "canary-token-0123456789";
inline constexpr char kLastModified[] = "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n";

inline Environment Vars(std::map<std::string, std::string> extra = {}) {
  extra.insert({"AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"});
  extra.insert({"AWS_SECRET_ACCESS_KEY", kSecret});
  return [extra](const std::string& name) -> std::optional<std::string> {
    auto found = extra.find(name);
    return found == extra.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

// A store at a scripted server. Says no to the probe once, so that each test scripts its own
// requests only.
class S3StoreTest : public ::testing::Test {
 protected:
  ObjectStore& At(const std::string& endpoint, std::map<std::string, std::string> vars = {}) {
    options_.address.bucket = "bucket";
    options_.address.prefix = "root";
    options_.address.endpoint = endpoint;
    options_.address.request_timeout = std::chrono::seconds(20);
    options_.environment = Vars(std::move(vars));
    auto store = OpenS3Store(options_);
    EXPECT_OK(store);
    store_ = *store;
    return *store_;
  }
  ObjectStore& Script(std::vector<ScriptedReply> replies) {
    http_ = std::make_unique<ScriptedHttp>(std::move(replies));
    return At(http_->endpoint());
  }
  ObjectStore& Handle(ScriptedHttp::Handler handler) {
    http_ = std::make_unique<ScriptedHttp>(std::move(handler));
    return At(http_->endpoint());
  }
  Status Put() { return store_->Put("k", AsBytes("body")).status(); }
  Status Get() { return store_->Get("k", 100).status(); }
  std::vector<ScriptedRequest> Requests() { return http_->requests(); }

  S3StoreOptions options_;
  std::unique_ptr<ScriptedHttp> http_;
  std::shared_ptr<ObjectStore> store_;
};

inline const ScriptedReply kTaken = HttpReply(200, "", "ETag: \"e\"\r\n");  // a PUT's body
inline const ScriptedReply kProbeHonoured = S3Error(412, "PreconditionFailed");

}  // namespace sqlite_s3
