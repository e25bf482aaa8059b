#pragma once
// What somebody may have meant who wrote a name that does not exist.

#include <span>
#include <string_view>

namespace sqlite_s3 {

// The one of `names` that `name` is most likely a misspelling of; empty when none is near. Any
// `name` is taken, long ones at once.
std::string_view NearestName(std::string_view name, std::span<const std::string_view> names);

}  // namespace sqlite_s3
