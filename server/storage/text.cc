#include "server/storage/text.h"

#include <cstdint>

#include "server/storage/object.h"

namespace sqlite_s3::server {

bool IsUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    auto lead = static_cast<uint8_t>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < length) {
      return false;
    }
    auto second = static_cast<uint8_t>(text[i + 1]);
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (second < low || second > high) {
      return false;
    }
    for (size_t k = 2; k < length; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xc0) != 0x80) {
        return false;
      }
    }
    i += length;
  }
  return true;
}

StorageStatus CheckKey(std::string_view key) {
  if (key.empty()) {
    return {Reason::kInvalidArgument, "the key is empty"};
  }
  if (key.size() > kMaxKeyBytes) {
    return {Reason::kKeyTooLong, "the key has " + std::to_string(key.size()) + " bytes, at most " +
                                     std::to_string(kMaxKeyBytes) + " are allowed"};
  }
  if (!IsUtf8(key)) {
    return {Reason::kInvalidArgument, "the key is not UTF-8"};
  }
  return {};
}

std::string AfterPrefix(std::string_view prefix) {
  std::string after(prefix);
  after.back() = static_cast<char>(static_cast<uint8_t>(after.back()) + 1);
  return after;
}

std::string Next(std::string_view text) {
  std::string next(text);
  next.push_back('\0');
  return next;
}

}  // namespace sqlite_s3::server
