#include "agent/daemon/directory_spec.h"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

#include "common/base/ascii.h"
#include "common/config/key_values.h"
#include "common/config/option_table.h"
#include "common/config/url.h"

namespace sqlite_s3 {
namespace {

std::string Replaced(std::string_view text, const std::string& path) {
  std::string out;
  for (;;) {
    const size_t at = text.find(kPathPlaceholder);
    out += text.substr(0, at);
    if (at == std::string_view::npos) {
      return out;
    }
    out += path;
    text.remove_prefix(at + kPathPlaceholder.size());
  }
}

bool Matches(const std::string& pattern, std::string_view relative, int flags) {
  const bool whole = pattern.find('/') != std::string::npos;
  const std::string text(whole ? relative : relative.substr(relative.rfind('/') + 1));
  return fnmatch(pattern.c_str(), text.c_str(), flags | FNM_PATHNAME) == 0;
}

// As a part of the address before the query: the relative path, encoded for the address's own
// grammar too. An address that is a plain path is taken as it is.
std::string ReplicaUrlFor(std::string_view pattern, const std::string& relative) {
  const std::string part = ReplicaPartOf(relative);
  const bool plain = pattern.starts_with('/') || pattern.starts_with("./");
  return Replaced(pattern, plain ? part : PercentEncode(part));
}

}  // namespace

bool MatchesPatterns(const DirectorySpec& spec, std::string_view relative) {
  const std::string everything = "*";
  return spec.patterns.empty()
             ? Matches(everything, relative, FNM_PERIOD)
             : std::any_of(spec.patterns.begin(), spec.patterns.end(), [&](const auto& pattern) {
                 return Matches(pattern, relative, FNM_PERIOD);
               });
}

bool IsExcluded(const DirectorySpec& spec, std::string_view relative) {
  return std::any_of(spec.exclude.begin(), spec.exclude.end(),
                     [&](const auto& pattern) { return Matches(pattern, relative, 0); });
}

bool IsSideFile(std::string_view name) {
  return name.ends_with("-wal") || name.ends_with("-shm") || name.ends_with("-journal");
}

std::string ReplicaPartOf(std::string_view relative) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : relative) {
    const bool plain = IsAlphanumeric(c) ||
                       (c != '\0' && std::string_view("/._-~+=@,").find(c) != std::string::npos);
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<uint8_t>(c) >> 4];
      out += kHex[static_cast<uint8_t>(c) & 15];
    }
  }
  return out;
}

std::string PathBelow(const std::string& directory, const std::string& relative) {
  return (directory == "/" ? "" : directory) + "/" + relative;
}

Result<DatabaseSpec> DatabaseSpecIn(const DirectorySpec& spec, const std::string& real_root,
                                    const std::string& relative) {
  const std::string_view address = std::string_view(spec.replica).substr(0, spec.replica.find('?'));
  if (address.find(kPathPlaceholder) == std::string_view::npos) {
    return InvalidArgumentError(
        "'replica' needs a {path}, or all databases of the directory would share it, hint: "
        "s3://bucket/prefix/{path}");
  }
  DatabaseSpec database;
  database.path = PathBelow(spec.path, relative);
  database.real_path = PathBelow(real_root, relative);
  database.replica_url = ReplicaUrlFor(address, relative) + spec.replica.substr(address.size());
  ASSIGN_OR_RETURN(database.replica,
                   ParseReplicaConfig(database.replica_url, spec.options, spec.defaults));
  std::string& state_dir = database.replica.ship.state_dir;
  if (!state_dir.empty()) {
    if (state_dir.find(kPathPlaceholder) == std::string::npos) {
      return InvalidArgumentError(
          "option 'state_dir' needs a {path}, or all databases of the directory would share it");
    }
    state_dir = Replaced(state_dir, ReplicaPartOf(relative));
  }
  RETURN_IF_ERROR(CheckSidecarOptions(database.replica.ship));
  return database;
}

}  // namespace sqlite_s3
