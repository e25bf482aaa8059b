#pragma once
// Where credentials come from, in this order; the first source that is set up is the only one
// asked:
//   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//   2. S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY
//   3. web identity: AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN
//   4. profile files: AWS_PROFILE or "default"
//   5. a container's: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI
//   6. the machine's role: IMDSv2, unless AWS_EC2_METADATA_DISABLED is true
// An address that names a profile goes to that profile and nowhere else.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/store/credentials.h"
#include "common/store/http_transport.h"

namespace sqlite_s3 {

// A variable's value; nothing when it is not set or empty.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
// The variables as they are now: reading them later would race with the host's setenv(3).
Environment ProcessEnvironment();

struct CredentialChainOptions {
  Environment environment = ProcessEnvironment();
  std::string profile = {};  // named by the address; empty: not named
  std::string region = {};   // for STS
  std::shared_ptr<HttpTransport> transport = {};
  const Clock* clock = &Clock::Real();
  // Of each step at the machine's metadata service: outside a cloud nobody answers there.
  std::chrono::milliseconds metadata_timeout{1000};
};

// FAMILY_ACCESS_KEY_ID and FAMILY_SECRET_ACCESS_KEY, of AWS also AWS_SESSION_TOKEN. kNotFound when
// neither is set, kPermissionDenied when one is.
Result<Credentials> EnvironmentCredentials(const Environment& environment,
                                           const std::string& family);

// Never fails here: what is missing or wrong is said by Fetch.
std::unique_ptr<CredentialSource> NewCredentialChain(CredentialChainOptions options);

}  // namespace sqlite_s3
