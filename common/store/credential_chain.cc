#include "common/store/credential_chain.h"

#include <cstdlib>

namespace sqlite_s3 {
namespace {

class Chain : public CredentialSource {
 public:
  explicit Chain(CredentialChainOptions options) : options_(std::move(options)) {}

  Result<Credentials> Fetch() override {
    if (auto found = FromEnvironment("AWS", true); found.code() != StatusCode::kNotFound) {
      return found;
    }
    if (auto found = FromEnvironment("S3", false); found.code() != StatusCode::kNotFound) {
      return found;
    }
    return PermissionDeniedError(
        "no credentials for S3 found, hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  }

 private:
  Result<Credentials> FromEnvironment(const std::string& family, bool with_token) const {
    auto id = options_.environment(family + "_ACCESS_KEY_ID");
    auto secret = options_.environment(family + "_SECRET_ACCESS_KEY");
    if (!id && !secret) {
      return NotFoundError("no " + family + "_ACCESS_KEY_ID in the environment");
    }
    if (!id || !secret) {
      return PermissionDeniedError("of " + family + "_ACCESS_KEY_ID and " + family +
                                   "_SECRET_ACCESS_KEY only one is set");
    }
    Credentials out;
    out.access_key_id = *id;
    out.secret_access_key = *secret;
    if (with_token) {
      out.session_token = options_.environment("AWS_SESSION_TOKEN").value_or("");
    }
    out.source = "environment";
    return out;
  }

  const CredentialChainOptions options_;
};

}  // namespace

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return std::nullopt;
    return std::string(value);
  };
}

std::unique_ptr<CredentialSource> NewCredentialChain(CredentialChainOptions options) {
  return std::make_unique<Chain>(std::move(options));
}

}  // namespace sqlite_s3
