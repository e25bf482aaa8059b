#include "common/config/units.h"

#include <charconv>
#include <limits>
#include <optional>
#include <string_view>

#include "common/config/key_values.h"
#include "common/config/options.h"

namespace sqlite_s3 {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit kDurationUnits[] = {
    {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000},
};
constexpr Unit kByteUnits[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", uint64_t{1} << 10},
    {"MiB", uint64_t{1} << 20},
    {"GiB", uint64_t{1} << 30},
    {"TiB", uint64_t{1} << 40},
};
constexpr uint64_t kMaxValue = std::numeric_limits<int64_t>::max();

enum class Problem { kNotANumber, kUnknownUnit, kTooLarge };

// Digits, then exactly one of the units. A sign, a fraction, a space or an exponent is no number.
template <size_t N>
std::optional<Problem> Parse(std::string_view text, const Unit (&units)[N], uint64_t* out) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) {
    return Problem::kTooLarge;
  }
  if (error != std::errc()) {
    return Problem::kNotANumber;
  }
  const auto suffix = text.substr(static_cast<size_t>(end - text.data()));
  for (const Unit& unit : units) {
    if (unit.name == suffix) {
      if (number > kMaxValue / unit.factor) {
        return Problem::kTooLarge;
      }
      *out = number * unit.factor;
      return std::nullopt;
    }
  }
  return Problem::kUnknownUnit;
}

Status Explain(std::string_view text, std::string_view what, Problem problem,
               std::string_view hint) {
  std::string message = Quoted(text);
  message += problem == Problem::kTooLarge ? " is too large for " : " is not ";
  message += what;
  message += ", hint: ";
  message += hint;
  return InvalidArgumentError(std::move(message));
}

}  // namespace

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  uint64_t ms = 0;
  if (auto problem = Parse(text, kDurationUnits, &ms)) {
    return Explain(text, "a duration", *problem,
                   "a whole number with ms, s, m, h or d, or plain milliseconds");
  }
  return std::chrono::milliseconds(ms);
}

Result<uint64_t> ParseByteSize(std::string_view text) {
  uint64_t bytes = 0;
  if (auto problem = Parse(text, kByteUnits, &bytes)) {
    return Explain(text, "a size", *problem,
                   "a whole number with KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB (1000), or "
                   "plain bytes");
  }
  return bytes;
}

std::string FormatDuration(std::chrono::milliseconds duration) {
  const auto ms = static_cast<uint64_t>(duration.count());
  if (ms != 0 && ms % 86'400'000 == 0 && ms > 86'400'000) {  // a single day stays "24h"
    return std::to_string(ms / 86'400'000) + "d";
  }
  for (const Unit& unit : {Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1000}}) {
    if (ms != 0 && ms % unit.factor == 0) {
      return std::to_string(ms / unit.factor) + std::string(unit.name);
    }
  }
  return ms == 0 ? "0" : std::to_string(ms) + "ms";
}

std::string FormatByteSize(uint64_t bytes) {
  static constexpr const char* kNames[] = {"TiB", "GiB", "MiB", "KiB"};
  for (int i = 0; i < 4; ++i) {
    const uint64_t factor = uint64_t{1} << (10 * (4 - i));
    if (bytes != 0 && bytes % factor == 0) {
      return std::to_string(bytes / factor) + kNames[i];
    }
  }
  return std::to_string(bytes);
}

}  // namespace sqlite_s3
