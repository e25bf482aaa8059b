#include "server/storage/md5.h"

#include <openssl/evp.h>

#include <cstdlib>

namespace sqlite_s3::server {

struct Md5::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(evp); }
};

Md5::Md5() : context_(std::make_unique<Context>()) {
  // Only a libcrypto without MD5, or no memory: no etag could be made at all.
  if (context_->evp == nullptr || EVP_DigestInit_ex(context_->evp, EVP_md5(), nullptr) != 1) {
    std::abort();
  }
}
Md5::~Md5() = default;
Md5::Md5(Md5&&) noexcept = default;
Md5& Md5::operator=(Md5&&) noexcept = default;

void Md5::Update(ByteSpan bytes) { EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()); }

std::array<uint8_t, 16> Md5::Finish() {
  std::array<uint8_t, 16> digest{};
  EVP_DigestFinal_ex(context_->evp, digest.data(), nullptr);
  return digest;
}

std::string Md5::Hex(ByteSpan bytes) {
  Md5 md5;
  md5.Update(bytes);
  return HexEncode(md5.Finish());
}

}  // namespace sqlite_s3::server
