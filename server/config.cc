#include "server/config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "common/base/toml_library.h"
#include "common/base/toml_text.h"
#include "common/os/file.h"

namespace sqlite_s3::server {
namespace {

constexpr uint64_t kMaxFileBytes = 16 << 20;

Status At(const toml::node& node, const std::string& path, const std::string& what) {
  return InvalidArgumentError(fmt::format("{}:{}: {}", path, node.source().begin.line, what));
}

// One table's keys, each read once; what is left at the end is unknown.
class TableReader {
 public:
  TableReader(const toml::table& table, const std::string& path) : table_(table), path_(path) {}

  template <typename T>
  Status Read(std::string_view key, T& out, const char* type) {
    known_.emplace(key);
    const toml::node* node = table_.get(key);
    if (!node) {
      return Status::Ok();
    }
    const auto value = node->value_exact<
        std::conditional_t<std::is_same_v<T, bool>, bool,
                           std::conditional_t<std::is_integral_v<T>, int64_t, std::string>>>();
    if (!value) {
      return At(*node, path_, fmt::format("'{}' must be {}", key, type));
    }
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (*value < 1 || *value > 1'000'000) {
        return At(*node, path_, fmt::format("'{}' is out of bounds", key));
      }
    }
    out = static_cast<T>(*value);
    return Status::Ok();
  }

  Status ReadAddress(std::string_view key, HostPort& out, bool* present) {
    std::string text;
    RETURN_IF_ERROR(Read(key, text, "a string such as \"127.0.0.1:9000\""));
    if (text.empty()) {
      return Status::Ok();
    }
    Result<HostPort> parsed = ParseListenAddress(text);
    if (!parsed.ok()) {
      return At(*table_.get(key), path_, parsed.status().message());
    }
    out = *parsed;
    if (present) {
      *present = true;
    }
    return Status::Ok();
  }

  Status ReadStrings(std::string_view key, std::vector<std::string>& out) {
    known_.emplace(key);
    const toml::node* node = table_.get(key);
    if (!node) {
      return Status::Ok();
    }
    const toml::array* array = node->as_array();
    if (!array) {
      return At(*node, path_, fmt::format("'{}' must be an array of strings", key));
    }
    for (const toml::node& item : *array) {
      const auto text = item.value_exact<std::string>();
      if (!text) {
        return At(item, path_, fmt::format("'{}' must be an array of strings", key));
      }
      out.push_back(*text);
    }
    return Status::Ok();
  }

  void Known(std::string_view key) { known_.emplace(key); }
  const toml::node* Get(std::string_view key) const { return table_.get(key); }

  Status NothingElse() const {
    for (const auto& [key, node] : table_) {
      if (!known_.contains(std::string(key.str()))) {
        return At(node, path_, fmt::format("unknown key '{}'", key.str()));
      }
    }
    return Status::Ok();
  }

 private:
  const toml::table& table_;
  const std::string& path_;
  std::set<std::string> known_;
};

Status ReadUser(const toml::table& table, const std::string& path, Config& config) {
  TableReader reader(table, path);
  User user;
  std::string rights = "read-write";
  RETURN_IF_ERROR(reader.Read("name", user.name, "a string"));
  RETURN_IF_ERROR(reader.Read("access_key", user.access_key, "a string"));
  RETURN_IF_ERROR(reader.Read("secret_key", user.secret_key, "a string"));
  RETURN_IF_ERROR(reader.Read("rights", rights, "a string"));
  RETURN_IF_ERROR(reader.ReadStrings("buckets", user.buckets));
  RETURN_IF_ERROR(reader.NothingElse());
  if (user.access_key.empty() || user.secret_key.empty()) {
    return At(table, path, "a user needs 'access_key' and 'secret_key'");
  }
  if (rights != "read-write" && rights != "read-only") {
    return At(*table.get("rights"), path, "'rights' must be \"read-write\" or \"read-only\"");
  }
  user.read_only = rights == "read-only";
  if (user.name.empty()) {
    user.name = user.access_key;
  }
  config.users.push_back(std::move(user));
  return Status::Ok();
}

Status ReadTable(const toml::table& table, const std::string& path, Config& config) {
  TableReader reader(table, path);
  std::string synchronous;
  RETURN_IF_ERROR(reader.ReadAddress("listen", config.listen, nullptr));
  RETURN_IF_ERROR(reader.ReadAddress("metrics_listen", config.metrics_listen, &config.metrics));
  RETURN_IF_ERROR(reader.Read("domain", config.domain, "a string"));
  RETURN_IF_ERROR(reader.Read("region", config.region, "a string"));
  RETURN_IF_ERROR(reader.Read("read_only", config.read_only, "true or false"));
  RETURN_IF_ERROR(reader.Read("allow_anonymous", config.allow_anonymous, "true or false"));
  RETURN_IF_ERROR(reader.Read("public_acls", config.public_acls, "true or false"));
  RETURN_IF_ERROR(reader.Read("tls_cert", config.tls_certificate_file, "a path"));
  RETURN_IF_ERROR(reader.Read("tls_key", config.tls_key_file, "a path"));
  RETURN_IF_ERROR(reader.Read("synchronous", synchronous, "\"normal\" or \"full\""));
  RETURN_IF_ERROR(reader.Read("max_connections", config.max_connections, "a number"));
  RETURN_IF_ERROR(
      reader.Read("max_connections_per_address", config.max_connections_per_address, "a number"));
  RETURN_IF_ERROR(reader.Read("log_requests", config.log_requests, "true or false"));
  if (!synchronous.empty()) {
    if (synchronous != "normal" && synchronous != "full") {
      return At(*reader.Get("synchronous"), path, "'synchronous' must be \"normal\" or \"full\"");
    }
    config.synchronous = synchronous == "full" ? Synchronous::kFull : Synchronous::kNormal;
  }
  reader.Known("users");
  if (const toml::node* node = reader.Get("users")) {
    const toml::array* users = node->as_array();
    if (!users || !users->is_homogeneous<toml::table>()) {
      return At(*node, path, "'users' must be [[users]] tables");
    }
    for (const toml::node& user : *users) {
      RETURN_IF_ERROR(ReadUser(*user.as_table(), path, config));
    }
  }
  return reader.NothingElse();
}

}  // namespace

Status ReadConfigFile(const std::string& path, Config& config) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return NotFoundError(fmt::format("cannot read the configuration {}", path));
  }
  ASSIGN_OR_RETURN(const Bytes bytes, ReadFile(path, kMaxFileBytes));
  if (const auto line = LineOfMisplacedCharacter(AsText(bytes))) {
    return InvalidArgumentError(fmt::format(
        "{}:{}: a character beyond ASCII outside a string, hint: put it in quotes", path, *line));
  }
  try {
    const toml::table table = toml::parse(AsText(bytes), path);
    if (table.contains("users") && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
      return PermissionDeniedError(
          fmt::format("{} holds secret keys and others may read it, hint: chmod 600", path));
    }
    return ReadTable(table, path, config);
  } catch (const toml::parse_error& error) {
    return InvalidArgumentError(
        fmt::format("{}:{}: {}", path, error.source().begin.line, error.description()));
  }
}

Status CheckConfig(const Config& config) {
  if (config.users.empty() && !config.allow_anonymous) {
    return InvalidArgumentError(
        "no user is configured, hint: --access-key and --secret-key, their environment variables "
        "SQLITE_S3_ACCESS_KEY and SQLITE_S3_SECRET_KEY, [[users]] in --config, or "
        "--allow-anonymous to let everybody in");
  }
  std::set<std::string> keys;
  for (const User& user : config.users) {
    if (!keys.insert(user.access_key).second) {
      return InvalidArgumentError(
          fmt::format("two users have the access key '{}'", user.access_key));
    }
    if (user.access_key.find_first_of(" :,=") != std::string::npos) {
      return InvalidArgumentError(
          fmt::format("access key '{}' holds a space, ':', ',' or '='", user.access_key));
    }
  }
  if (config.tls_certificate_file.empty() != config.tls_key_file.empty()) {
    return InvalidArgumentError("--tls-cert and --tls-key belong together");
  }
  if (config.metrics && !IsLoopback(config.metrics_listen.host)) {
    return InvalidArgumentError(
        "--metrics-listen must be a loopback address: it asks nobody who "
        "they are");
  }
  if (config.faults && !IsLoopback(config.faults_listen.host)) {
    return InvalidArgumentError("--enable-faults must be a loopback address");
  }
  return Status::Ok();
}

}  // namespace sqlite_s3::server
