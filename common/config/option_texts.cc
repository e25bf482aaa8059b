#include "common/config/option_texts.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "common/base/ascii.h"
#include "common/config/option_values.h"

namespace sqlite_s3 {

// Less than a page a second would be no way to ship anything.
Status ParseUploadRate(std::string_view value, ReplicaConfig& config) {
  constexpr int64_t kLeast = 1024;
  constexpr int64_t kMost = int64_t{64} << 30;
  ASSIGN_OR_RETURN(const uint64_t parsed, ParseByteSize(value));
  if (parsed != 0 && (parsed < uint64_t{kLeast} || parsed > uint64_t{kMost})) {
    return OutOfBounds(value, "0, or " + FormatByteSize(kLeast), FormatByteSize(kMost));
  }
  config.ship.upload_rate = parsed;
  return Status::Ok();
}

Status ParseStateDir(std::string_view value, ReplicaConfig& config) {
  if (value.empty()) {
    config.ship.state_dir.clear();
    return Status::Ok();
  }
  ASSIGN_OR_RETURN(config.ship.state_dir, MakeAbsolutePath(value));
  return Status::Ok();
}

// An endpoint may be written with user:password@ by mistake, so no message shows it.
Status ParseEndpoint(std::string_view value, ReplicaConfig& config) {
  std::string_view rest = value;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return InvalidArgumentError("not an endpoint, hint: https://host or http://host:port");
  }
  if (rest.ends_with('/')) {
    rest.remove_suffix(1);
  }
  if (rest.find('@') != std::string_view::npos) {
    return InvalidArgumentError(
        "user and password do not belong into an endpoint, hint: credentials come from the "
        "environment or a profile");
  }
  const auto host_character = [](char c) {
    return IsAlphanumeric(c) || std::string_view(".-_:[]").find(c) != std::string_view::npos;
  };
  if (rest.empty() || !std::all_of(rest.begin(), rest.end(), host_character)) {
    return InvalidArgumentError(
        "not an endpoint, hint: a host and perhaps a port follow http:// or https://, nothing "
        "else");
  }
  config.location.endpoint = value.substr(0, value.size() - (value.ends_with('/') ? 1 : 0));
  return Status::Ok();
}

Status ParseRegion(std::string_view value, ReplicaConfig& config) {
  const auto region_character = [](char c) {
    return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-';
  };
  if (value.empty() || value.size() > 64 ||
      !std::all_of(value.begin(), value.end(), region_character)) {
    return InvalidArgumentError(Quoted(value) + " is not a region, hint: one like eu-central-1");
  }
  config.location.region = value;
  return Status::Ok();
}

Status ParseTags(std::string_view value, ReplicaConfig& config) {
  constexpr size_t kMostTags = 10;  // S3's
  size_t tags = 0;
  for (std::string_view rest = value; !rest.empty(); ++tags) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const size_t equals = rest.substr(0, end).find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return InvalidArgumentError(Quoted(value) + " has a tag that is not name=value");
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (tags == 0 || tags > kMostTags || value.size() > 2048) {
    return InvalidArgumentError(Quoted(value) +
                                " has not 1 to 10 tags, hint: tags=name=value, "
                                "several joined by %26");
  }
  config.location.tags = value;
  return Status::Ok();
}

Status ParseStatementsExclude(std::string_view value, ReplicaConfig& config) {
  constexpr size_t kLongest = 4096;
  if (value.size() > kLongest) {
    return InvalidArgumentError("is longer than " + std::to_string(kLongest) + " bytes");
  }
  config.ship.statements_exclude = value;
  return Status::Ok();
}

}  // namespace sqlite_s3
