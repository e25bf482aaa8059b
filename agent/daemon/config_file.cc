#include "agent/daemon/config_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "common/base/ascii.h"
#include "common/base/toml_library.h"
#include "common/base/toml_text.h"
#include "common/config/environment.h"
#include "common/config/key_values.h"
#include "common/config/option_table.h"
#include "common/config/url.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxFileBytes = 16 << 20;
constexpr int kMostPrice = 1'000'000;

Status ErrorAt(const std::string& name, const toml::node& node, std::string_view what) {
  return InvalidArgumentError(fmt::format("{}:{}: {}", name, node.source().begin.line, what));
}

bool IsNameCharacter(char c) { return IsAlphanumeric(c) || c == '_'; }

// The length of the variable's name that `text` begins with.
size_t NameLength(std::string_view text) {
  const bool digit = !text.empty() && text.front() >= '0' && text.front() <= '9';
  const auto* end = std::find_if_not(text.begin(), text.end(), IsNameCharacter);
  return digit ? 0 : static_cast<size_t>(end - text.begin());
}

Result<std::string> Expand(const std::string& name, const toml::node& node, std::string_view text) {
  std::string out;
  for (;;) {
    const size_t at = text.find('$');
    out += text.substr(0, at);
    if (at == std::string_view::npos) {
      return out;
    }
    text.remove_prefix(at + 1);
    if (text.starts_with('$')) {
      out += '$';
      text.remove_prefix(1);
      continue;
    }
    const bool braces = text.starts_with('{');
    text.remove_prefix(braces ? 1 : 0);
    const size_t length = NameLength(text);
    if (length == 0 || (braces && !text.substr(length).starts_with('}'))) {
      return ErrorAt(name, node, "a $ without a variable, hint: $NAME or ${NAME}; $$ is a $");
    }
    const std::string variable(text.substr(0, length));
    const char* value = getenv(variable.c_str());
    if (value == nullptr) {
      return ErrorAt(name, node, "environment variable " + Quoted(variable) + " is not set");
    }
    out += value;
    text.remove_prefix(length + (braces ? 1 : 0));
  }
}

// As the options' grammar writes it.
Result<std::string> TextOf(const std::string& name, const std::string& key,
                           const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return Expand(name, node, text->get());
  }
  if (const auto* number = node.as_integer()) {
    return std::to_string(number->get());
  }
  if (const auto* flag = node.as_boolean()) {
    return std::string(flag->get() ? "on" : "off");
  }
  return ErrorAt(name, node, "key " + Quoted(key) + " takes a string, a whole number or a boolean");
}

struct Reader {
  const std::string& name;  // of the file
  const toml::table* defaults = nullptr;
  const ReplicaConfig& environment;

  Result<std::string> Required(const toml::table& table, const char* key, const char* what) const {
    const toml::node* node = table.get(key);
    if (node == nullptr || !node->is_string()) {
      return ErrorAt(name, table, fmt::format("a {} needs '{}', a string", what, key));
    }
    return TextOf(name, key, *node);
  }

  Result<std::string> AbsolutePath(const toml::table& table, const char* what) const {
    ASSIGN_OR_RETURN(const std::string text, Required(table, "path", what));
    const toml::node& node = *table.get("path");
    if (!text.starts_with('/')) {
      return ErrorAt(name, node, "'path' must be absolute");
    }
    auto path = MakeAbsolutePath(text);  // without "//" and a '/' at the end
    return path.ok() ? path : Result<std::string>(ErrorAt(name, node, path.status().message()));
  }

  // A table's options as one options string, those of `defaults` that it does not have included.
  // `own` are the keys that are no options.
  Result<std::string> OptionsOf(const toml::table& table, std::span<const std::string_view> own,
                                bool s3) const {
    std::string options;
    RETURN_IF_ERROR(AddOptions(table, own, nullptr, true, options));
    if (defaults != nullptr) {
      RETURN_IF_ERROR(AddOptions(*defaults, {}, &table, s3, options));
    }
    return options;
  }

  // `over`: what it has wins. `s3`: options of the store are for it.
  Status AddOptions(const toml::table& from, std::span<const std::string_view> own,
                    const toml::table* over, bool s3, std::string& options) const {
    for (const auto& [key_node, node] : from) {
      const std::string key(key_node.str());
      if (std::find(own.begin(), own.end(), key) != own.end()) {
        continue;
      }
      const OptionDescriptor* option = FindOption(key);
      if (option == nullptr) {
        const std::string_view nearest = NearestOption(key);
        return ErrorAt(name, node,
                       "unknown key " + Quoted(key) +
                           (nearest.empty() ? std::string()
                                            : fmt::format(", hint: did you mean '{}'?", nearest)));
      }
      if (over != nullptr && (over->contains(key) || (option->kind == OptionKind::kStore && !s3))) {
        continue;
      }
      ASSIGN_OR_RETURN(const std::string text, TextOf(name, key, node));
      ReplicaConfig scratch;
      if (const Status status = option->parse(text, scratch); !status.ok()) {
        return ErrorAt(name, node, "option '" + key + "': " + status.message());
      }
      options += fmt::format("{}={}&", key, PercentEncode(text));
    }
    return Status::Ok();
  }

  Result<DatabaseSpec> Database(const toml::table& table) const {
    static constexpr std::string_view kOwn[] = {"path", "replica"};
    DatabaseSpec spec;
    ASSIGN_OR_RETURN(spec.path, AbsolutePath(table, "database"));
    ASSIGN_OR_RETURN(spec.replica_url, Required(table, "replica", "database"));
    ASSIGN_OR_RETURN(const std::string options,
                     OptionsOf(table, kOwn, spec.replica_url.starts_with("s3://")));
    auto replica = ParseReplicaConfig(spec.replica_url, options, environment);
    Status valid = replica.status();
    if (valid.ok()) {
      spec.replica = std::move(replica).value();
      valid = CheckSidecarOptions(spec.replica.ship);
    }
    if (!valid.ok()) {
      return ErrorAt(name, table, valid.message());
    }
    return spec;
  }

  // A string, or an array of them.
  Status Globs(const toml::table& table, const char* key, std::vector<std::string>& out) const {
    const toml::node* node = table.get(key);
    if (node == nullptr) {
      return Status::Ok();
    }
    std::vector<const toml::node*> texts{node};
    if (const toml::array* array = node->as_array()) {
      texts.clear();
      for (const toml::node& element : *array) {
        texts.push_back(&element);
      }
    }
    for (const toml::node* text : texts) {
      if (!text->is_string() || text->as_string()->get().empty()) {
        return ErrorAt(name, *text, fmt::format("'{}' takes a glob, or an array of globs", key));
      }
      ASSIGN_OR_RETURN(out.emplace_back(), TextOf(name, key, *text));
    }
    if (texts.empty()) {
      return ErrorAt(name, *node, fmt::format("'{}' is empty", key));
    }
    return Status::Ok();
  }

  Status Flag(const toml::table& table, const char* key, bool& out) const {
    const toml::node* node = table.get(key);
    if (node != nullptr && !node->is_boolean()) {
      return ErrorAt(name, *node, fmt::format("'{}' is true or false", key));
    }
    out = node != nullptr ? node->as_boolean()->get() : out;
    return Status::Ok();
  }

  Result<DirectorySpec> Directory(const toml::table& table) const {
    static constexpr std::string_view kOwn[] = {"path",      "replica", "pattern",
                                                "recursive", "watch",   "exclude"};
    DirectorySpec spec;
    ASSIGN_OR_RETURN(spec.path, AbsolutePath(table, "directory"));
    ASSIGN_OR_RETURN(spec.replica, Required(table, "replica", "directory"));
    RETURN_IF_ERROR(Globs(table, "pattern", spec.patterns));
    RETURN_IF_ERROR(Globs(table, "exclude", spec.exclude));
    RETURN_IF_ERROR(Flag(table, "recursive", spec.recursive));
    RETURN_IF_ERROR(Flag(table, "watch", spec.watch));
    ASSIGN_OR_RETURN(spec.options, OptionsOf(table, kOwn, spec.replica.starts_with("s3://")));
    spec.defaults = environment;
    // What is wrong with any database of it is wrong with this one.
    if (const auto some = DatabaseSpecIn(spec, spec.path, "x"); !some.ok()) {
      return ErrorAt(name, table, some.status().message());
    }
    return spec;
  }
};

struct PriceKey {
  std::string_view key;
  double Prices::*field;
};
constexpr PriceKey kPrices[] = {
    {"price_put_per_1000", &Prices::put_per_1000},
    {"price_get_per_1000", &Prices::get_per_1000},
    {"price_gb_month", &Prices::gb_month},
};

Result<AgentConfig> ReadTables(const toml::table& root, const std::string& name) {
  AgentConfig config;
  ASSIGN_OR_RETURN(const ReplicaConfig environment, EnvironmentDefaults());
  Reader reader{name, root["defaults"].as_table(), environment};
  for (const auto& [key_node, node] : root) {
    const std::string key(key_node.str());
    const auto field =
        std::find_if(std::begin(kAgentSettings), std::end(kAgentSettings),
                     [&](const AgentSetting& setting) { return setting.key == key; });
    if (field != std::end(kAgentSettings)) {
      ASSIGN_OR_RETURN(config.settings.*field->text, TextOf(name, key, node));
    } else if (const auto price = std::find_if(std::begin(kPrices), std::end(kPrices),
                                               [&](const PriceKey& p) { return p.key == key; });
               price != std::end(kPrices)) {
      const auto value = node.value<double>();
      if (!value || !(*value >= 0 && *value <= kMostPrice)) {
        return ErrorAt(name, node, fmt::format("'{}' must be a number, 0 to {}", key, kMostPrice));
      }
      config.prices.*price->field = *value;
    } else if (key == "defaults" && reader.defaults != nullptr) {
      std::string ignored;
      RETURN_IF_ERROR(reader.AddOptions(*reader.defaults, {}, nullptr, true, ignored));
    } else if (key == "database" && node.is_array_of_tables()) {
      for (const toml::node& element : *node.as_array()) {
        ASSIGN_OR_RETURN(DatabaseSpec spec, reader.Database(*element.as_table()));
        if (std::any_of(config.databases.begin(), config.databases.end(),
                        [&](const DatabaseSpec& other) { return other.path == spec.path; })) {
          return ErrorAt(name, element, "database '" + spec.path + "' is there twice");
        }
        config.databases.push_back(std::move(spec));
      }
    } else if (key == "directory" && node.is_array_of_tables()) {
      for (const toml::node& element : *node.as_array()) {
        ASSIGN_OR_RETURN(DirectorySpec spec, reader.Directory(*element.as_table()));
        config.directories.push_back(std::move(spec));
      }
    } else {
      std::string known;
      for (const AgentSetting& setting : kAgentSettings) {
        known += fmt::format("{}, ", setting.key);
      }
      for (const PriceKey& known_price : kPrices) {
        known += fmt::format("{}, ", known_price.key);
      }
      return ErrorAt(name, node,
                     fmt::format("unknown key {}, hint: {}[defaults], [[database]], [[directory]]",
                                 Quoted(key), known));
    }
  }
  return config;
}

}  // namespace

Result<AgentConfig> ParseAgentConfig(std::string_view text, const std::string& name) {
  if (const auto line = LineOfMisplacedCharacter(text)) {
    return InvalidArgumentError(fmt::format(
        "{}:{}: a character beyond ASCII outside a string, hint: put it in quotes", name, *line));
  }
  try {
    return ReadTables(toml::parse(text), name);
  } catch (const toml::parse_error& error) {
    return InvalidArgumentError(
        fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
}

Result<AgentConfig> LoadAgentConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const Bytes bytes, ReadFile(path, kMaxFileBytes));
  return ParseAgentConfig(AsText(bytes), path);
}

}  // namespace sqlite_s3
