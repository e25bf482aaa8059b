#pragma once
// Browser forms: the policy document that a form carries, its signature and its conditions.
//
// Source: Amazon S3 API reference, "Creating a POST policy" and "Authenticating requests in
// browser-based uploads using POST". Pure; thread-safe.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "server/auth/s3_error.h"
#include "server/auth/users.h"

namespace sqlite_s3::server {

// Form fields by lower-case name, "bucket" among them.
using FormFields = std::map<std::string, std::string>;

struct PostGrant {
  const User* user = nullptr;  // null: the form is not signed
  uint64_t min_bytes = 0;
  std::optional<uint64_t> max_bytes;
};

// Verifies signature, expiry and every condition but the length's, which is in the grant.
S3Result<PostGrant> CheckPostPolicy(const FormFields& fields, const Users& users, int64_t now_us);

}  // namespace sqlite_s3::server
