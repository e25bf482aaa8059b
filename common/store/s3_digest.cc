#include "common/store/s3_digest.h"

#include <openssl/evp.h>

#include <array>

namespace sqlite_s3 {
namespace {

std::optional<std::array<uint8_t, 16>> Md5(ByteSpan bytes) {
  std::array<uint8_t, 16> digest{};
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_md5(), nullptr) != 1) {
    return std::nullopt;
  }
  return digest;
}

}  // namespace

std::string Base64Encode(ByteSpan bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t left = bytes.size() - i;
    uint32_t group = uint32_t{bytes[i]} << 16;
    if (left > 1) group |= uint32_t{bytes[i + 1]} << 8;
    if (left > 2) group |= uint32_t{bytes[i + 2]};
    out.push_back(kAlphabet[group >> 18]);
    out.push_back(kAlphabet[group >> 12 & 63]);
    out.push_back(left > 1 ? kAlphabet[group >> 6 & 63] : '=');
    out.push_back(left > 2 ? kAlphabet[group & 63] : '=');
  }
  return out;
}

std::optional<std::string> Md5Base64(ByteSpan bytes) {
  auto digest = Md5(bytes);
  return digest ? std::optional(Base64Encode(*digest)) : std::nullopt;
}

std::optional<std::string> Md5Hex(ByteSpan bytes) {
  auto digest = Md5(bytes);
  return digest ? std::optional(HexEncode(*digest)) : std::nullopt;
}

}  // namespace sqlite_s3
