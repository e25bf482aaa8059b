#include "agent/daemon/config_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstdlib>

#include "common/config/key_values.h"
#include "common/config/option_table.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxFileBytes = 16 << 20;
constexpr int kMostPrice = 1'000'000;

Status ErrorAt(const std::string& name, const toml::node& node, std::string_view what) {
  return InvalidArgumentError(fmt::format("{}:{}: {}", name, node.source().begin.line, what));
}

Result<std::string> Expand(const std::string& name, const toml::node& node, std::string_view text) {
  std::string out;
  for (;;) {
    const size_t at = text.find("${");
    out += text.substr(0, at);
    if (at == std::string_view::npos) {
      return out;
    }
    const size_t end = text.find('}', at);
    if (end == std::string_view::npos) {
      return ErrorAt(name, node, "a ${ without its }");
    }
    const std::string variable(text.substr(at + 2, end - at - 2));
    const char* value = getenv(variable.c_str());
    if (value == nullptr) {
      return ErrorAt(name, node, "environment variable " + Quoted(variable) + " is not set");
    }
    out += value;
    text.remove_prefix(end + 1);
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

// A table's options as one options string, those of `defaults` that it does not have included.
Result<std::string> OptionsOf(const std::string& name, const toml::table& table,
                              const toml::table* defaults, bool s3) {
  std::string options;
  auto add = [&](const toml::table& from, bool skip_known) -> Status {
    for (const auto& [key_node, node] : from) {
      const std::string key(key_node.str());
      if (!skip_known && (key == "path" || key == "replica")) {
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
      if (skip_known && (table.contains(key) || (option->kind == OptionKind::kStore && !s3))) {
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
  };
  RETURN_IF_ERROR(add(table, false));
  if (defaults != nullptr) {
    RETURN_IF_ERROR(add(*defaults, true));
  }
  return options;
}

Result<DatabaseSpec> SpecOf(const std::string& name, const toml::table& table,
                            const toml::table* defaults) {
  DatabaseSpec spec;
  for (const auto& [key, value] :
       {std::pair("path", &spec.path), std::pair("replica", &spec.replica_url)}) {
    const toml::node* node = table.get(key);
    if (node == nullptr || !node->is_string()) {
      return ErrorAt(name, table, fmt::format("a database needs '{}', a string", key));
    }
    ASSIGN_OR_RETURN(*value, TextOf(name, key, *node));
  }
  if (!spec.path.starts_with('/')) {
    return ErrorAt(name, *table.get("path"), "'path' must be absolute");
  }
  ASSIGN_OR_RETURN(const std::string options,
                   OptionsOf(name, table, defaults, spec.replica_url.starts_with("s3://")));
  auto replica = ParseReplicaConfig(spec.replica_url, options);
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

struct TextKey {
  std::string_view key;
  std::string AgentConfig::*field;
};
// Keys of the agent itself.
constexpr TextKey kTexts[] = {
    {"control", &AgentConfig::control},
    {"log_format", &AgentConfig::log_format},
    {"log_level", &AgentConfig::log_level},
    {"heartbeat_url", &AgentConfig::heartbeat_url},
    {"heartbeat_interval", &AgentConfig::heartbeat_interval},
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
  const toml::table* defaults = root["defaults"].as_table();
  for (const auto& [key_node, node] : root) {
    const std::string key(key_node.str());
    const auto field = std::find_if(std::begin(kTexts), std::end(kTexts),
                                    [&](const TextKey& text) { return text.key == key; });
    if (field != std::end(kTexts)) {
      ASSIGN_OR_RETURN(config.*field->field, TextOf(name, key, node));
    } else if (const auto price = std::find_if(std::begin(kPrices), std::end(kPrices),
                                               [&](const PriceKey& p) { return p.key == key; });
               price != std::end(kPrices)) {
      const auto value = node.value<double>();
      if (!value || !(*value >= 0 && *value <= kMostPrice)) {
        return ErrorAt(name, node, fmt::format("'{}' must be a number, 0 to {}", key, kMostPrice));
      }
      config.prices.*price->field = *value;
    } else if (key == "defaults" && defaults != nullptr) {
      RETURN_IF_ERROR(OptionsOf(name, *defaults, nullptr, true).status());
    } else if (key == "database" && node.is_array_of_tables()) {
      for (const toml::node& element : *node.as_array()) {
        ASSIGN_OR_RETURN(DatabaseSpec spec, SpecOf(name, *element.as_table(), defaults));
        if (std::any_of(config.databases.begin(), config.databases.end(),
                        [&](const DatabaseSpec& other) { return other.path == spec.path; })) {
          return ErrorAt(name, element, "database '" + spec.path + "' is there twice");
        }
        config.databases.push_back(std::move(spec));
      }
    } else {
      std::string known;
      for (const TextKey& text : kTexts) {
        known += fmt::format("{}, ", text.key);
      }
      for (const PriceKey& text : kPrices) {
        known += fmt::format("{}, ", text.key);
      }
      return ErrorAt(
          name, node,
          fmt::format("unknown key {}, hint: {}[defaults], [[database]]", Quoted(key), known));
    }
  }
  return config;
}

}  // namespace

Result<AgentConfig> ParseAgentConfig(std::string_view text, const std::string& name) {
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
