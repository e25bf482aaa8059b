#include <algorithm>

#include "common/base/ascii.h"
#include "server/auth/users.h"
#include "server/s3/answers.h"
#include "server/s3/operations.h"
#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxRules = 100;

bool Matches(const pugi::xml_node& rule, const std::string& origin, const std::string& method) {
  const auto any = [&](const char* name, const auto& test) {
    const auto children = rule.children(name);
    return std::any_of(children.begin(), children.end(),
                       [&](const pugi::xml_node& n) { return test(n.text().get()); });
  };
  return any("AllowedOrigin",
             [&](const std::string& pattern) { return MatchesGlob(pattern, origin); }) &&
         any("AllowedMethod", [&](const std::string& allowed) { return allowed == method; });
}

// The asked-for headers as answered; nothing when one of them is not allowed.
std::optional<std::string> AllowedHeaders(const pugi::xml_node& rule, const std::string& asked) {
  std::string out;
  size_t begin = 0;
  while (begin <= asked.size()) {
    const size_t end = std::min(asked.find(',', begin), asked.size());
    const std::string name =
        ToLower(TrimSpaces(std::string_view(asked).substr(begin, end - begin)));
    begin = end + 1;
    if (name.empty()) {
      continue;
    }
    const auto patterns = rule.children("AllowedHeader");
    if (std::none_of(patterns.begin(), patterns.end(), [&](const pugi::xml_node& n) {
          return MatchesGlob(ToLower(n.text().get()), name);
        })) {
      return std::nullopt;
    }
    out += out.empty() ? name : ", " + name;
  }
  return out;
}

bool AllowsAnyOrigin(const pugi::xml_node& rule) {
  const auto origins = rule.children("AllowedOrigin");
  return std::any_of(origins.begin(), origins.end(), [](const pugi::xml_node& n) {
    return std::string_view(n.text().get()) == "*";
  });
}

void AddRuleHeaders(const pugi::xml_node& rule, const std::string& origin,
                    const std::string& method, Headers& headers) {
  const bool any = AllowsAnyOrigin(rule);
  headers.Set("Access-Control-Allow-Origin", any ? "*" : origin);
  if (!any) {
    headers.Set("Access-Control-Allow-Credentials", "true");
  }
  headers.Set("Access-Control-Allow-Methods", method);
  std::string exposed;
  for (const pugi::xml_node& node : rule.children("ExposeHeader")) {
    exposed += (exposed.empty() ? "" : ", ") + std::string(node.text().get());
  }
  if (!exposed.empty()) {
    headers.Set("Access-Control-Expose-Headers", exposed);
  }
  const std::string age = ChildText(rule, "MaxAgeSeconds");
  if (!age.empty()) {
    headers.Set("Access-Control-Max-Age", age);
  }
  headers.Set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
}

std::unique_ptr<pugi::xml_document> RulesOf(const Call& call) {
  S3Result<std::shared_ptr<Bucket>> bucket = call.OpenBucket();
  if (!bucket.ok()) {
    return nullptr;
  }
  StorageResult<std::string> stored = (*bucket)->GetDocument("cors");
  return stored.ok() ? ParseDocument(*stored, "CORSConfiguration") : nullptr;
}

}  // namespace

Answer GetBucketCors(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  StorageResult<std::string> stored = bucket->GetDocument("cors");
  if (!stored.ok()) {
    return stored.reason() == Reason::kNoSuchDocument
               ? MakeError("NoSuchCORSConfiguration").With("BucketName", call.bucket)
               : FromStorage(stored.status());
  }
  Response response;
  response.headers.Add("Content-Type", "application/xml");
  response.body = std::move(*stored);
  return response;
}

Answer PutBucketCors(Call& call, const std::string& document) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const auto parsed = ParseDocument(document, "CORSConfiguration");
  if (!parsed) {
    return MakeError("MalformedXML");
  }
  size_t count = 0;
  for (const pugi::xml_node& rule : parsed->document_element().children("CORSRule")) {
    ++count;
    if (!rule.child("AllowedOrigin") || !rule.child("AllowedMethod") || count > kMaxRules) {
      return MakeError("MalformedXML");
    }
    for (const pugi::xml_node& method : rule.children("AllowedMethod")) {
      const std::string_view name(method.text().get());
      if (name != "GET" && name != "PUT" && name != "POST" && name != "DELETE" && name != "HEAD") {
        return MakeError("InvalidRequest", "Found unsupported HTTP method in CORS config.");
      }
    }
  }
  if (count == 0) {
    return MakeError("MalformedXML");
  }
  const StorageStatus put = bucket->PutDocument("cors", document);
  if (!put.ok()) {
    return FromStorage(put);
  }
  return Response{};
}

Answer DeleteBucketCors(Call& call) {
  ASSIGN_OR_RETURN(const auto bucket, call.OpenBucket());
  const StorageStatus deleted = bucket->DeleteDocument("cors");
  if (!deleted.ok()) {
    return FromStorage(deleted);
  }
  Response response;
  response.status = 204;
  return response;
}

Answer Preflight(Call& call) {
  const std::string* origin = call.request.headers.Find("origin");
  const std::string* method = call.request.headers.Find("access-control-request-method");
  if (!origin || !method) {
    return MakeError("BadRequest", "Insufficient information. Origin request header needed.");
  }
  const std::unique_ptr<pugi::xml_document> rules = call.bucket.empty() ? nullptr : RulesOf(call);
  if (rules) {
    for (const pugi::xml_node& rule : rules->document_element().children("CORSRule")) {
      const auto allowed =
          AllowedHeaders(rule, call.request.headers.Get("access-control-request-headers"));
      if (!allowed || !Matches(rule, *origin, *method)) {
        continue;
      }
      Response response;
      AddRuleHeaders(rule, *origin, *method, response.headers);
      if (!allowed->empty()) {
        response.headers.Set("Access-Control-Allow-Headers", *allowed);
      }
      return response;
    }
  }
  return MakeError("AccessDenied", "CORSResponse: This CORS request is not allowed.");
}

void AddCorsHeaders(const Call& call, Response& response) {
  const std::string* origin = call.request.headers.Find("origin");
  if (!origin || call.op == Op::kPreflight || call.bucket.empty()) {
    return;
  }
  const std::unique_ptr<pugi::xml_document> rules = RulesOf(call);
  if (!rules) {
    return;
  }
  const std::string method = call.request.method;
  for (const pugi::xml_node& rule : rules->document_element().children("CORSRule")) {
    if (Matches(rule, *origin, method)) {
      AddRuleHeaders(rule, *origin, method, response.headers);
      return;
    }
  }
}

}  // namespace sqlite_s3::server
