#pragma once
// Users: who may do what. Immutable after start; thread-safe.

#include <string>
#include <string_view>
#include <vector>

namespace sqlite_s3::server {

struct User {
  std::string name;  // owner id and display name in documents
  std::string access_key;
  std::string secret_key;
  bool read_only = false;
  std::vector<std::string> buckets;  // glob patterns; empty: all
};

// Shell patterns of '*' and '?'; everything else is itself.
bool MatchesGlob(std::string_view pattern, std::string_view text);
bool MayUseBucket(const User& user, std::string_view bucket);

class Users {
 public:
  Users() = default;
  explicit Users(std::vector<User> users) : users_(std::move(users)) {}
  // Null when there is none of that key.
  const User* Find(std::string_view access_key) const;
  bool empty() const { return users_.empty(); }
  const std::vector<User>& all() const { return users_; }

 private:
  std::vector<User> users_;
};

}  // namespace sqlite_s3::server
