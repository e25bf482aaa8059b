#pragma once
// The one table of options. It drives parsing, FormatShipOptions, error messages, and the test that
// holds docs/OPERATIONS.md to it. A new option is one field in options.h and one row here.

#include <span>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/config/options.h"

namespace sqlite_s3 {

enum class OptionKind {
  kShip,   // how to ship; every replica
  kStore,  // where and how to reach the store; s3 replicas only
};

struct OptionDescriptor {
  std::string_view name;
  OptionKind kind;
  std::string_view values;  // what may be written, for messages and the documentation
  std::string_view help;
  // Checks syntax and bounds and sets the field. The message does not name the option.
  Status (*parse)(std::string_view value, ReplicaConfig& config);
  // The field as `parse` reads it, not percent-encoded.
  std::string (*format)(const ReplicaConfig& config);
};

// In the order of options.h. Lives for ever.
std::span<const OptionDescriptor> OptionTable();
// Null when there is none.
const OptionDescriptor* FindOption(std::string_view name);
// The known name that `name` is most likely a misspelling of; empty when none is near.
std::string_view NearestOption(std::string_view name);
// The rows of the documentation's table, in Markdown: | `name` | values | default | meaning |
std::string FormatOptionTable();

}  // namespace sqlite_s3
