#include "common/config/url.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "common/base/ascii.h"
#include "common/config/key_values.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMaxPrefixBytes = 512;  // leaves room for our keys below S3's limit of 1024
constexpr std::string_view kKnownForms =
    "a replica is file:///dir, file:dir, s3://bucket/prefix, or a path that starts with '/' or "
    "'./'";

bool IsNameCharacter(char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; }

// A path that is the root is a slip of the pen: the replica's objects would lie in "/".
Result<ReplicaLocation> FileLocation(std::string_view path) {
  ReplicaLocation location;
  location.scheme = "file";
  ASSIGN_OR_RETURN(location.path, MakeAbsolutePath(path));
  if (location.path == "/") {
    return InvalidArgumentError("it names the root directory");
  }
  return location;
}

Result<ReplicaLocation> ParseFile(std::string_view rest) {
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    if (rest.starts_with("localhost/")) {
      rest.remove_prefix(std::string_view("localhost").size());
    }
    if (!rest.starts_with('/')) {
      return InvalidArgumentError(
          "file://" + std::string(rest.empty() ? "" : "HOST/") +
          " names no directory, hint: file:///absolute/dir or file:relative/dir");
    }
  }
  ASSIGN_OR_RETURN(const std::string decoded, PercentDecode(rest));
  return FileLocation(decoded);
}

// The names that S3 and its look-alikes take: the strict rules of today's AWS would refuse old
// buckets.
bool IsBucketName(std::string_view name) {
  return name.size() >= 3 && name.size() <= 255 && IsAlphanumeric(name.front()) &&
         IsAlphanumeric(name.back()) && std::all_of(name.begin(), name.end(), IsNameCharacter) &&
         name.find("..") == std::string_view::npos;
}

Status CheckPrefix(std::string_view prefix) {
  if (prefix.size() > kMaxPrefixBytes) {
    return InvalidArgumentError("the prefix has " + std::to_string(prefix.size()) +
                                " bytes, at most " + std::to_string(kMaxPrefixBytes) +
                                " are allowed");
  }
  for (size_t start = 0; start <= prefix.size();) {
    const size_t end = std::min(prefix.find('/', start), prefix.size());
    const std::string_view segment = prefix.substr(start, end - start);
    if (segment.empty() || segment == "." || segment == "..") {
      return InvalidArgumentError("the prefix " + Quoted(prefix) +
                                  " has an empty, '.' or '..' segment");
    }
    start = end + 1;
  }
  const auto control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; };
  if (std::any_of(prefix.begin(), prefix.end(), control)) {
    return InvalidArgumentError("the prefix " + Quoted(prefix) + " has a control character");
  }
  return Status::Ok();
}

Result<ReplicaLocation> ParseS3(std::string_view rest) {
  if (!rest.starts_with("//")) {
    return InvalidArgumentError("it names no bucket, hint: s3://bucket/prefix");
  }
  rest.remove_prefix(2);
  const size_t slash = std::min(rest.find('/'), rest.size());
  ReplicaLocation location;
  location.scheme = "s3";
  ASSIGN_OR_RETURN(location.bucket, PercentDecode(rest.substr(0, slash)));
  if (location.bucket.find('@') != std::string::npos ||
      location.bucket.find(':') != std::string::npos) {
    return InvalidArgumentError(
        "user, password and port do not belong before the bucket, hint: credentials come from the "
        "environment or a profile, the port is part of endpoint=http://host:port");
  }
  if (!IsBucketName(location.bucket)) {
    return InvalidArgumentError(
        Quoted(location.bucket) +
        " is not a bucket name, hint: 3 to 255 letters, digits, '.', '-', '_'");
  }
  std::string_view prefix = slash < rest.size() ? rest.substr(slash + 1) : std::string_view();
  if (prefix.ends_with('/')) {
    prefix.remove_suffix(1);
  }
  ASSIGN_OR_RETURN(location.prefix, PercentDecode(prefix));
  if (!location.prefix.empty()) {
    RETURN_IF_ERROR(CheckPrefix(location.prefix));
  }
  return location;
}

Result<ReplicaLocation> ParseMemory(std::string_view rest) {
  if (rest.empty() || !std::all_of(rest.begin(), rest.end(), IsNameCharacter)) {
    return InvalidArgumentError("memory:NAME takes letters, digits, '.', '-', '_'");
  }
  ReplicaLocation location;
  location.scheme = "memory";
  location.name = rest;
  return location;
}

Result<ReplicaLocation> ParseLocation(std::string_view address) {
  if (address.starts_with('/') || address.starts_with("./")) {  // as it is, nothing decoded
    return FileLocation(address);
  }
  if (address.find('#') != std::string_view::npos) {
    return InvalidArgumentError("it has a '#', hint: inside a name '#' is written %23");
  }
  const size_t colon = address.find(':');
  const std::string_view scheme = address.substr(0, std::min(colon, address.size()));
  if (colon == std::string_view::npos) {
    return InvalidArgumentError("it has no scheme, hint: " + std::string(kKnownForms));
  }
  const std::string_view rest = address.substr(colon + 1);
  if (scheme == "file") {
    return ParseFile(rest);
  }
  if (scheme == "s3") {
    return ParseS3(rest);
  }
  if (scheme == "memory") {
    return ParseMemory(rest);
  }
  return InvalidArgumentError("unknown scheme " + Quoted(scheme) +
                              ", hint: " + std::string(kKnownForms));
}

}  // namespace

Result<std::string> MakeAbsolutePath(std::string_view path) {
  if (path.empty()) {
    return InvalidArgumentError("the path is empty");
  }
  if (path.find('\0') != std::string_view::npos) {
    return InvalidArgumentError("the path has a NUL byte");
  }
  std::string full(path);
  if (full.front() != '/') {
    std::error_code error;
    const std::filesystem::path here = std::filesystem::current_path(error);
    if (error) {
      return InvalidArgumentError("relative path " + Quoted(path) +
                                  ": the working directory is not known: " + error.message());
    }
    full = here.native() + "/" + full;
  }
  std::string out;
  for (size_t start = 0; start < full.size();) {
    const size_t end = std::min(full.find('/', start), full.size());
    const std::string_view segment = std::string_view(full).substr(start, end - start);
    if (!segment.empty() && segment != ".") {
      out += '/';
      out += segment;
    }
    start = end + 1;
  }
  return out.empty() ? std::string("/") : out;
}

Result<ReplicaUrl> ParseReplicaUrl(std::string_view url) {
  if (url.empty()) {
    return InvalidArgumentError("replica URL: it is empty, hint: " + std::string(kKnownForms));
  }
  if (url.find('\0') != std::string_view::npos) {
    return InvalidArgumentError("replica URL: it has a NUL byte");
  }
  const size_t question = std::min(url.find('?'), url.size());
  auto location = ParseLocation(url.substr(0, question));
  if (!location.ok()) {
    return location.status().WithContext("replica URL");
  }
  ReplicaUrl out{*std::move(location), {}};
  if (question < url.size()) {
    out.query = url.substr(question + 1);
  }
  return out;
}

}  // namespace sqlite_s3
