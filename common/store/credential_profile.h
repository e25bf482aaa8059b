#pragma once
// Profiles: AWS_CONFIG_FILE (~/.aws/config) and AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials).
//
// Of a profile these are understood: aws_access_key_id, aws_secret_access_key, aws_session_token,
// role_arn with source_profile or credential_source (Environment, EcsContainer,
// Ec2InstanceMetadata) or web_identity_token_file, external_id, role_session_name,
// duration_seconds, credential_process, region. SSO is not.
//
// credential_process runs a program that a file names. It is run without a shell, and only when
// the file belongs to us or root and nobody else may write it.

#include <map>
#include <optional>
#include <string>

#include "common/base/status.h"
#include "common/store/credential_chain.h"

namespace sqlite_s3 {

// kNotFound when no profile was named (by the address or AWS_PROFILE) and "default" is not there.
Result<Credentials> ProfileCredentials(const CredentialChainOptions& options);
// Empty when the files or the profile do not say.
std::string ProfileRegion(const CredentialChainOptions& options);

// Section to key to value, "[profile x]" as "x". Lines that are none are skipped.
using ProfileSections = std::map<std::string, std::map<std::string, std::string>>;
ProfileSections ParseProfileFile(std::string_view text);

// The words of a command line: blanks separate, '...' and "..." group, \ takes the next character
// as it is outside '...'. kInvalidArgument for a quote that is not closed.
Result<std::vector<std::string>> SplitCommandLine(std::string_view text);
// The standard output of a program, at most 64 KiB of it, within a minute. The environment is ours.
Result<std::string> RunCredentialProcess(const std::vector<std::string>& words);

}  // namespace sqlite_s3
