#pragma once
// Credentials that a service hands out: STS, a container's agent, the machine's metadata service.
// None of the functions keeps anything; errors hold no secret.

#include <string>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/store/credential_chain.h"

namespace sqlite_s3 {

struct AssumedRole {
  std::string role_arn;
  std::string session_name;      // empty: made up
  std::string external_id;       // empty: none
  std::string duration_seconds;  // empty: the service's
};

// AssumeRole, signed with `base`; and AssumeRoleWithWebIdentity, with the token that the file holds
// now. At AWS_ENDPOINT_URL_STS, else at the region's endpoint of AWS.
Result<Credentials> AssumeRole(const CredentialChainOptions& options, const AssumedRole& role,
                               const Credentials& base);
Result<Credentials> AssumeRoleWithWebIdentity(const CredentialChainOptions& options,
                                              const AssumedRole& role,
                                              const std::string& token_file);

// kNotFound when the environment names no container credentials. A full URI is asked only over
// TLS, on the loopback, or at the two addresses of container agents.
Result<Credentials> ContainerCredentials(const CredentialChainOptions& options);

// IMDSv2, no fallback to version 1. kNotFound when it is switched off or nobody answers in
// options.metadata_timeout.
Result<Credentials> MachineCredentials(const CredentialChainOptions& options);

// {"AccessKeyId", "SecretAccessKey", "Token" or "SessionToken", "Expiration"}. kCorruption, without
// the text, when it is not that.
Result<Credentials> ParseCredentialDocument(std::string_view json, const std::string& source);

}  // namespace sqlite_s3
