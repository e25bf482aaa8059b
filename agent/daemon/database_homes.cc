#include "agent/daemon/database_homes.h"

#include <utility>
#include <vector>

namespace sqlite_s3 {
namespace {

// What only one database may have: its replica and its state. Each ends with a '/', so that what
// lies in another begins with it.
std::vector<std::string> HomesOf(const DatabaseSpec& spec) {
  const ReplicaLocation& at = spec.replica.location;
  const std::string where =
      at.scheme == "s3" ? at.endpoint + " " + at.bucket + "/" + at.prefix : at.name + at.path;
  const std::string& state = spec.replica.ship.state_dir;
  return {at.scheme + ":" + where + (where.ends_with('/') ? "" : "/"),
          (state.empty() ? spec.path + "-s3" : state) + "/"};
}

// The path of the database in `homes` whose home is, lies in or encloses this one.
const std::string* FindOverlap(const std::map<std::string, std::string>& homes,
                               const std::string& home) {
  if (const auto at = homes.lower_bound(home); at != homes.end() && at->first.starts_with(home)) {
    return &at->second;
  }
  for (size_t end = home.find('/'); end != std::string::npos; end = home.find('/', end + 1)) {
    if (const auto at = homes.find(home.substr(0, end + 1)); at != homes.end()) {
      return &at->second;
    }
  }
  return nullptr;
}

Status NotApart(const DatabaseSpec& spec, bool replica, const std::string& other) {
  return InvalidArgumentError("database '" + spec.path + "': its " +
                              (replica ? "replica" : "state_dir") +
                              " is, lies in or encloses that of '" + other + "'");
}

}  // namespace

Status DatabaseHomes::Check(const DatabaseSpec& spec) const {
  const auto [replica, state] = std::pair(HomesOf(spec)[0], HomesOf(spec)[1]);
  if (const std::string* other = FindOverlap(homes_, replica)) {
    return NotApart(spec, true, *other);
  }
  // A database in another's state directory is no business of ours; the same directory is.
  if (const auto other = homes_.find(state); other != homes_.end()) {
    return NotApart(spec, false, other->second);
  }
  return Status::Ok();
}

Status DatabaseHomes::Take(const DatabaseSpec& spec) {
  RETURN_IF_ERROR(Check(spec));
  for (const std::string& home : HomesOf(spec)) {
    homes_.emplace(home, spec.path);
  }
  return Status::Ok();
}

void DatabaseHomes::Leave(const DatabaseSpec& spec) {
  for (const std::string& home : HomesOf(spec)) {
    homes_.erase(home);
  }
}

}  // namespace sqlite_s3
