#include "common/store/credential_chain.h"

#include <map>

#include "common/store/credential_profile.h"
#include "common/store/credential_services.h"

extern char** environ;

namespace sqlite_s3 {
namespace {

Result<Credentials> WebIdentity(const CredentialChainOptions& options) {
  auto file = options.environment("AWS_WEB_IDENTITY_TOKEN_FILE");
  auto role = options.environment("AWS_ROLE_ARN");
  if (!file || !role) {
    return NotFoundError("no AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN in the environment");
  }
  AssumedRole assumed;
  assumed.role_arn = *role;
  assumed.session_name = options.environment("AWS_ROLE_SESSION_NAME").value_or("");
  return AssumeRoleWithWebIdentity(options, assumed, *file);
}

class Chain : public CredentialSource {
 public:
  explicit Chain(CredentialChainOptions options) : options_(std::move(options)) {}

  Result<Credentials> Fetch() override {
    if (!options_.profile.empty()) {
      return ProfileCredentials(options_);
    }
    using Step = Result<Credentials> (*)(const CredentialChainOptions&);
    static constexpr Step kSteps[] = {
        [](const CredentialChainOptions& o) {
          return EnvironmentCredentials(o.environment, "AWS");
        },
        [](const CredentialChainOptions& o) { return EnvironmentCredentials(o.environment, "S3"); },
        &WebIdentity,
        &ProfileCredentials,
        &ContainerCredentials,
        &MachineCredentials,
    };
    for (Step step : kSteps) {
      auto found = step(options_);
      if (found.code() != StatusCode::kNotFound) {
        return found;
      }
    }
    return PermissionDeniedError(
        "no credentials for S3: none in the environment, no web identity, no profile, no "
        "container's agent, no role of this machine, hint: set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY");
  }

 private:
  const CredentialChainOptions options_;
};

}  // namespace

Environment ProcessEnvironment() {
  auto variables = std::make_shared<std::map<std::string, std::string>>();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    std::string_view text(*entry);
    if (text.starts_with("AWS_") || text.starts_with("S3_") || text.starts_with("HOME=")) {
      size_t equals = std::min(text.find('='), text.size());
      (*variables)[std::string(text.substr(0, equals))] =
          text.substr(std::min(equals + 1, text.size()));
    }
  }
  return [variables](const std::string& name) -> std::optional<std::string> {
    auto found = variables->find(name);
    if (found == variables->end() || found->second.empty()) return std::nullopt;
    return found->second;
  };
}

Result<Credentials> EnvironmentCredentials(const Environment& environment,
                                           const std::string& family) {
  auto id = environment(family + "_ACCESS_KEY_ID");
  auto secret = environment(family + "_SECRET_ACCESS_KEY");
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
  if (family == "AWS") {
    out.session_token = environment("AWS_SESSION_TOKEN").value_or("");
  }
  out.source = "the environment";
  return out;
}

std::unique_ptr<CredentialSource> NewCredentialChain(CredentialChainOptions options) {
  return std::make_unique<Chain>(std::move(options));
}

}  // namespace sqlite_s3
