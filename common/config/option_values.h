#pragma once
// What an option's value is, for the rows of option_table.cc: a field, and how its text is read and
// written. The functions are those of OptionDescriptor.

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/base/status.h"
#include "common/config/key_values.h"
#include "common/config/options.h"
#include "common/config/units.h"
#include "common/config/url.h"

namespace sqlite_s3 {

inline Status OutOfBounds(std::string_view value, const std::string& least,
                          const std::string& most) {
  return InvalidArgumentError(Quoted(value) + " is out of bounds, hint: " + least + " to " + most);
}

// The struct that a field belongs to.
template <typename T>
ShipOptions& Part(ReplicaConfig& config, T ShipOptions::*) {
  return config.ship;
}
template <typename T>
ReplicaLocation& Part(ReplicaConfig& config, T ReplicaLocation::*) {
  return config.location;
}
template <typename T>
const ShipOptions& Part(const ReplicaConfig& config, T ShipOptions::*) {
  return config.ship;
}
template <typename T>
const ReplicaLocation& Part(const ReplicaConfig& config, T ReplicaLocation::*) {
  return config.location;
}

// --- Durations, sizes, numbers: a field and its bounds

template <auto Field, int64_t kLeast, int64_t kMost>
Status ParseDurationOption(std::string_view value, ReplicaConfig& config) {
  ASSIGN_OR_RETURN(const std::chrono::milliseconds parsed, ParseDuration(value));
  if (parsed.count() < kLeast || parsed.count() > kMost) {
    return OutOfBounds(value, FormatDuration(std::chrono::milliseconds(kLeast)),
                       FormatDuration(std::chrono::milliseconds(kMost)));
  }
  Part(config, Field).*Field = parsed;
  return Status::Ok();
}
template <auto Field>
std::string FormatDurationOption(const ReplicaConfig& config) {
  return FormatDuration(Part(config, Field).*Field);
}

template <auto Field, int64_t kLeast, int64_t kMost>
Status ParseSizeOption(std::string_view value, ReplicaConfig& config) {
  ASSIGN_OR_RETURN(const uint64_t parsed, ParseByteSize(value));
  if (parsed < uint64_t{kLeast} || parsed > uint64_t{kMost}) {
    return OutOfBounds(value, FormatByteSize(kLeast), FormatByteSize(kMost));
  }
  Part(config, Field).*Field = parsed;
  return Status::Ok();
}
template <auto Field>
std::string FormatSizeOption(const ReplicaConfig& config) {
  return FormatByteSize(Part(config, Field).*Field);
}

template <auto Field, int64_t kLeast, int64_t kMost>
Status ParseNumberOption(std::string_view value, ReplicaConfig& config) {
  int64_t parsed = 0;
  const char* const last = value.data() + value.size();
  const auto [end, error] = std::from_chars(value.data(), last, parsed);
  if (end != last || error == std::errc::invalid_argument) {
    return InvalidArgumentError(Quoted(value) + " is not a whole number");
  }
  if (error != std::errc() || parsed < kLeast || parsed > kMost) {
    return OutOfBounds(value, std::to_string(kLeast), std::to_string(kMost));
  }
  using Number = std::remove_reference_t<decltype(Part(config, Field).*Field)>;
  Part(config, Field).*Field = static_cast<Number>(parsed);
  return Status::Ok();
}
template <auto Field>
std::string FormatNumberOption(const ReplicaConfig& config) {
  return std::to_string(Part(config, Field).*Field);
}

// --- Words: a field and the words its values are written as

template <typename T>
struct Word {
  std::string_view text;
  T value;
};
// Of a field that holds the text itself.
template <typename... Texts>
constexpr auto TextWords(Texts... texts) {
  return std::array{Word<std::string_view>{texts, texts}...};
}
template <auto Field, const auto& kWords>
Status ParseWordOption(std::string_view value, ReplicaConfig& config) {
  std::string allowed;
  for (const auto& word : kWords) {
    if (word.text == value) {
      Part(config, Field).*Field = word.value;
      return Status::Ok();
    }
    allowed += (allowed.empty() ? "" : ", ") + std::string(word.text);
  }
  return InvalidArgumentError(Quoted(value) + " is not one of " + allowed);
}
template <auto Field, const auto& kWords>
std::string FormatWordOption(const ReplicaConfig& config) {
  for (const auto& word : kWords) {
    if (word.value == Part(config, Field).*Field) {
      return std::string(word.text);
    }
  }
  return {};
}

// --- Texts of the store

// A text that goes into a request's header, or names something: bounded and printable.
template <auto Field>
Status ParseTokenOption(std::string_view value, ReplicaConfig& config) {
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (value.empty() || value.size() > 512 || !std::all_of(value.begin(), value.end(), printable)) {
    return InvalidArgumentError(Quoted(value) + " is empty, too long, or not plain text");
  }
  config.location.*Field = value;
  return Status::Ok();
}
template <auto Field>
Status ParsePathOption(std::string_view value, ReplicaConfig& config) {
  ASSIGN_OR_RETURN(config.location.*Field, MakeAbsolutePath(value));
  return Status::Ok();
}
template <auto Field>
std::string FormatTextOption(const ReplicaConfig& config) {
  return config.location.*Field;
}

}  // namespace sqlite_s3
