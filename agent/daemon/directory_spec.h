#pragma once
// DirectorySpec: a directory whose databases are shipped, each to a replica of its own. Pure
// functions.

#include <string>
#include <string_view>
#include <vector>

#include "agent/daemon/database_spec.h"

namespace sqlite_s3 {

// Stands for the database's path below the directory in a replica's URL and in state_dir.
inline constexpr std::string_view kPathPlaceholder = "{path}";

struct DirectorySpec {
  std::string path;                   // absolute, as configured
  std::vector<std::string> patterns;  // globs, one of them must match; none: everything
  std::vector<std::string> exclude;   // globs; also directories that are not to be entered
  bool recursive = false;
  bool watch = true;       // also what comes and goes later
  std::string replica;     // URL with kPathPlaceholder
  std::string options;     // key=value pairs, as ParseReplicaConfig takes them
  ReplicaConfig defaults;  // the environment's

  bool operator==(const DirectorySpec& other) const {
    return path == other.path && patterns == other.patterns && exclude == other.exclude &&
           recursive == other.recursive && watch == other.watch && replica == other.replica &&
           options == other.options && defaults.location == other.defaults.location &&
           defaults.ship == other.defaults.ship;
  }
};

// Whether a pattern with a '/' matches the whole relative path, or one without the last name of it,
// as glob(7) says: '*' and '?' match neither a '/' nor a leading '.'. Exclusions match a leading
// '.' too.
bool MatchesPatterns(const DirectorySpec& spec, std::string_view relative);
bool IsExcluded(const DirectorySpec& spec, std::string_view relative);
// A name that SQLite makes beside a database.
bool IsSideFile(std::string_view name);

std::string PathBelow(const std::string& directory, const std::string& relative);

// A relative path as part of a replica's address: bytes other than letters, digits and "/._-~+=@,"
// become %XX, so that two paths never give one address, in any store. The replica of a database
// rests on this for ever: it must not change.
std::string ReplicaPartOf(std::string_view relative);

// What the directory's options mean for one of its databases. kInvalidArgument: the placeholder is
// missing (several databases would share a replica), an option is wrong, or a path gets too long.
// REQUIRES: `relative` has no empty, "." or ".." segment.
// `real_root`: the directory without symbolic links.
Result<DatabaseSpec> DatabaseSpecIn(const DirectorySpec& spec, const std::string& real_root,
                                    const std::string& relative);

}  // namespace sqlite_s3
