#include "common/config/options.h"

#include <utility>

#include "common/config/key_values.h"
#include "common/config/option_table.h"
#include "common/config/url.h"

namespace sqlite_s3 {
namespace {

// Never shows the value: an unknown key may well be a secret under another name.
Status UnknownOption(std::string_view key, std::string_view where) {
  std::string message = "unknown option " + Quoted(key) + " in " + std::string(where) + ", hint: ";
  if (const std::string_view nearest = NearestOption(key); !nearest.empty()) {
    message += "did you mean '" + std::string(nearest) + "'?";
  } else if (LooksSecret(key)) {
    message += "credentials come from the environment or a profile";
  } else {
    message += "the options are ";
    std::string_view separator;
    for (const OptionDescriptor& option : OptionTable()) {
      message += separator;
      message += option.name;
      separator = ", ";
    }
  }
  return InvalidArgumentError(std::move(message));
}

Status Apply(std::string_view text, std::string_view separators, std::string_view where,
             ReplicaConfig& config) {
  ASSIGN_OR_RETURN(const auto pairs, ParseKeyValues(text, separators, where));
  for (const KeyValue& pair : pairs) {
    const OptionDescriptor* option = FindOption(pair.key);
    if (option == nullptr) {
      return UnknownOption(pair.key, where);
    }
    const std::string context = "option '" + pair.key + "'";
    if (option->kind == OptionKind::kStore && config.location.scheme != "s3") {
      return InvalidArgumentError(context + " is for s3 replicas, this one is " +
                                  config.location.scheme);
    }
    if (Status status = option->parse(pair.value, config); !status.ok()) {
      return status.WithContext(context);
    }
  }
  return Status::Ok();
}

}  // namespace

Result<ReplicaConfig> ParseReplicaConfig(std::string_view url, std::string_view options) {
  return ParseReplicaConfig(url, options, ReplicaConfig());
}

Result<ReplicaConfig> ParseReplicaConfig(std::string_view url, std::string_view options,
                                         const ReplicaConfig& defaults) {
  ASSIGN_OR_RETURN(ReplicaUrl parsed, ParseReplicaUrl(url));
  ReplicaConfig config;
  config.ship = defaults.ship;
  if (parsed.location.scheme == "s3") {
    config.location = defaults.location;
  }
  config.location.scheme = std::move(parsed.location.scheme);
  config.location.path = std::move(parsed.location.path);
  config.location.bucket = std::move(parsed.location.bucket);
  config.location.prefix = std::move(parsed.location.prefix);
  config.location.name = std::move(parsed.location.name);
  RETURN_IF_ERROR(Apply(parsed.query, kQuerySeparators, "replica URL", config));
  RETURN_IF_ERROR(Apply(options, kOptionSeparators, "options", config));  // last: it wins
  return config;
}

std::string FormatShipOptions(const ShipOptions& options) {
  ReplicaConfig config;
  config.ship = options;
  std::string out;
  for (const OptionDescriptor& option : OptionTable()) {
    if (option.kind == OptionKind::kShip) {
      out += std::string(option.name) + "=" + PercentEncode(option.format(config)) + "\n";
    }
  }
  return out;
}

std::string FormatReplicaUrl(std::string_view url, const ReplicaConfig& config) {
  const ReplicaConfig defaults;
  std::string out(url.substr(0, url.find('?')));
  char separator = '?';
  for (const OptionDescriptor& option : OptionTable()) {
    if (option.kind == OptionKind::kStore && config.location.scheme == "s3" &&
        option.format(config) != option.format(defaults)) {
      out += separator;
      out += option.name;
      out += '=';
      out += PercentEncode(option.format(config));
      separator = '&';
    }
  }
  return out;
}

}  // namespace sqlite_s3
