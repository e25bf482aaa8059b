#include "server/auth/users.h"

#include <algorithm>

namespace sqlite_s3::server {

bool MatchesGlob(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') {
    ++p;
  }
  return p == pattern.size();
}

bool MayUseBucket(const User& user, std::string_view bucket) {
  return user.buckets.empty() ||
         std::any_of(user.buckets.begin(), user.buckets.end(),
                     [&](const std::string& pattern) { return MatchesGlob(pattern, bucket); });
}

const User* Users::Find(std::string_view access_key) const {
  for (const User& user : users_) {
    if (user.access_key == access_key) {
      return &user;
    }
  }
  return nullptr;
}

}  // namespace sqlite_s3::server
