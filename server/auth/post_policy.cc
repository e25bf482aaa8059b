#include "server/auth/post_policy.h"

#include <nlohmann/json.hpp>
#include <set>

#include "common/base/ascii.h"
#include "common/store/sigv4.h"
#include "server/auth/authenticate.h"
#include "server/auth/digest.h"

namespace sqlite_s3::server {
namespace {

using nlohmann::json;

std::string Field(const FormFields& fields, const std::string& name) {
  const auto found = fields.find(name);
  return found == fields.end() ? std::string() : found->second;
}

S3Error Malformed(const std::string& what) {
  return MakeError("InvalidPolicyDocument", "Invalid Policy: " + what);
}

S3Error Violated(const std::string& what) {
  return MakeError("AccessDenied", "Invalid according to Policy: " + what);
}

S3Result<const User*> VerifySignature(const FormFields& fields, const Users& users) {
  const std::string policy = Field(fields, "policy");
  std::string access_key = Field(fields, "awsaccesskeyid");
  const bool v2 = !access_key.empty();
  const std::string signature = Field(fields, v2 ? "signature" : "x-amz-signature");
  std::string date;
  std::string region;
  if (!v2) {
    // ACCESS_KEY/yyyymmdd/region/s3/aws4_request; the access key may hold slashes.
    const std::string credential = Field(fields, "x-amz-credential");
    std::string rest = credential;
    std::string parts[4];
    for (int i = 3; i >= 0; --i) {
      const size_t slash = rest.rfind('/');
      if (slash == std::string::npos) {
        return MakeError("InvalidArgument", "The field x-amz-credential is malformed.");
      }
      parts[i] = rest.substr(slash + 1);
      rest.resize(slash);
    }
    if (Field(fields, "x-amz-algorithm") != kSigV4Algorithm || parts[3] != "aws4_request" ||
        parts[2] != "s3" || !ParseAmzDate(Field(fields, "x-amz-date"))) {
      return MakeError("InvalidArgument", "The form's signature fields are malformed.");
    }
    access_key = rest;
    date = parts[0];
    region = parts[1];
  }
  if (signature.empty()) {
    return MakeError("InvalidArgument", "The form has a policy and no signature.");
  }
  const User* user = users.Find(access_key);
  if (!user) {
    return MakeError("InvalidAccessKeyId").With("AWSAccessKeyId", access_key);
  }
  const std::string expected =
      v2 ? HmacSha1Base64(user->secret_key, policy)
         : Signature(DeriveSigningKey(user->secret_key, date, region, "s3"), policy);
  if (!EqualInConstantTime(expected, signature)) {
    return MakeError("SignatureDoesNotMatch").With("AWSAccessKeyId", access_key);
  }
  return user;
}

std::optional<S3Error> CheckLengthRange(const json& condition, PostGrant& grant) {
  const auto is_size = [](const json& value) { return value.is_number_unsigned(); };
  if (condition.size() != 3 || !is_size(condition[1]) || !is_size(condition[2])) {
    return Malformed("content-length-range needs two whole numbers.");
  }
  grant.min_bytes = condition[1].get<uint64_t>();
  grant.max_bytes = condition[2].get<uint64_t>();
  return std::nullopt;
}

std::optional<S3Error> CheckOne(const std::string& operation, const std::string& name,
                                const std::string& wanted, const FormFields& fields,
                                std::set<std::string>& covered) {
  const std::string lower = ToLower(name);
  covered.insert(lower);
  const auto field = fields.find(lower);
  const std::string value = field == fields.end() ? "" : field->second;
  const bool holds = operation == "eq" ? field != fields.end() && value == wanted
                                       : field != fields.end() && value.rfind(wanted, 0) == 0;
  if (!holds) {
    return Violated("Policy Condition failed: [\"" + operation + "\", \"$" + name + "\", \"" +
                    wanted + "\"]");
  }
  return std::nullopt;
}

std::optional<S3Error> CheckCondition(const json& condition, const FormFields& fields,
                                      std::set<std::string>& covered, PostGrant& grant) {
  if (condition.is_object()) {
    for (const auto& [name, value] : condition.items()) {
      if (!value.is_string()) {
        return Malformed("a condition's value must be a string.");
      }
      if (std::optional<S3Error> error =
              CheckOne("eq", name, value.get<std::string>(), fields, covered)) {
        return error;
      }
    }
    return condition.empty() ? std::optional<S3Error>(Malformed("an empty condition."))
                             : std::nullopt;
  }
  if (!condition.is_array() || condition.size() != 3 || !condition[0].is_string()) {
    return Malformed("a condition is an object or an array of three.");
  }
  const std::string operation = ToLower(condition[0].get<std::string>());
  if (operation == "content-length-range") {
    return CheckLengthRange(condition, grant);
  }
  if ((operation != "eq" && operation != "starts-with") || !condition[1].is_string() ||
      !condition[2].is_string()) {
    return Malformed("an unknown condition.");
  }
  std::string name = condition[1].get<std::string>();
  if (name.empty() || name.front() != '$') {
    return Malformed("a condition's field begins with '$'.");
  }
  name.erase(0, 1);
  return CheckOne(operation, name, condition[2].get<std::string>(), fields, covered);
}

std::optional<S3Error> CheckNothingElse(const FormFields& fields,
                                        const std::set<std::string>& covered) {
  static const std::set<std::string> free = {
      "policy", "x-amz-signature", "signature",        "awsaccesskeyid", "file",
      "bucket", "x-amz-algorithm", "x-amz-credential", "x-amz-date"};
  for (const auto& [name, value] : fields) {
    if (!free.contains(name) && !covered.contains(name) && name.rfind("x-ignore-", 0) != 0) {
      return Violated("Extra input fields: " + name);
    }
  }
  return std::nullopt;
}

}  // namespace

S3Result<PostGrant> CheckPostPolicy(const FormFields& fields, const Users& users, int64_t now_us) {
  PostGrant grant;
  if (!fields.contains("policy")) {
    if (fields.contains("awsaccesskeyid") || fields.contains("x-amz-signature")) {
      return MakeError("InvalidArgument", "The form is signed and has no policy.");
    }
    return grant;
  }
  S3Result<const User*> user = VerifySignature(fields, users);
  if (!user.ok()) {
    return user.error();
  }
  grant.user = *user;
  const std::optional<Bytes> text = DecodeBase64(Field(fields, "policy"));
  const json policy = text ? json::parse(text->begin(), text->end(), nullptr, false) : json();
  if (!policy.is_object()) {
    return Malformed("Invalid JSON.");
  }
  if (!policy.contains("expiration") || !policy["expiration"].is_string()) {
    return Malformed("Policy missing expiration.");
  }
  const std::optional<int64_t> expires_us = ParseAnyDate(policy["expiration"].get<std::string>());
  if (!expires_us) {
    return Malformed("Invalid 'expiration' value.");
  }
  if (now_us > *expires_us) {
    return Violated("Policy expired.");
  }
  if (!policy.contains("conditions") || !policy["conditions"].is_array() ||
      policy["conditions"].empty()) {
    return Malformed("Policy missing conditions.");
  }
  std::set<std::string> covered;
  for (const json& condition : policy["conditions"]) {
    if (std::optional<S3Error> error = CheckCondition(condition, fields, covered, grant)) {
      return *error;
    }
  }
  if (std::optional<S3Error> error = CheckNothingElse(fields, covered)) {
    return *error;
  }
  return grant;
}

}  // namespace sqlite_s3::server
