#include "common/config/environment.h"

#include <unistd.h>

#include "common/base/ascii.h"
#include "common/config/key_values.h"
#include "common/config/option_table.h"

namespace sqlite_s3 {
namespace {

constexpr std::string_view kPrefix = "SQLITE_S3_";

}  // namespace

std::string EnvironmentNameOf(std::string_view option) {
  return std::string(kPrefix) + ToUpper(option);
}

Result<ReplicaConfig> EnvironmentDefaults(const char* const* environment) {
  ReplicaConfig config;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const size_t equals = entry.find('=');
    if (!entry.starts_with(kPrefix) || equals == std::string_view::npos ||
        equals + 1 == entry.size()) {
      continue;
    }
    const std::string_view variable = entry.substr(0, equals);
    const std::string name = ToLower(variable.substr(kPrefix.size()));
    const OptionDescriptor* option = FindOption(name);
    if (option == nullptr) {
      // Others are other programs' business, or names that a later version has.
      if (const std::string_view nearest = NearestOption(name); !nearest.empty()) {
        return InvalidArgumentError("unknown environment variable " + Quoted(variable) +
                                    ", hint: did you mean '" + EnvironmentNameOf(nearest) + "'?");
      }
      continue;
    }
    if (const Status status = option->parse(entry.substr(equals + 1), config); !status.ok()) {
      return status.WithContext("environment variable '" + std::string(variable) + "'");
    }
  }
  return config;
}

Result<ReplicaConfig> EnvironmentDefaults() { return EnvironmentDefaults(environ); }

}  // namespace sqlite_s3
