#include "server/auth/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <stdexcept>

#include "common/base/ascii.h"
#include "common/base/crc32c.h"
#include "server/http/message.h"

namespace sqlite_s3::server {
namespace {

class EvpDigest : public StreamingDigest {
 public:
  explicit EvpDigest(const EVP_MD* algorithm) : context_(EVP_MD_CTX_new()) {
    if (!context_ || EVP_DigestInit_ex(context_, algorithm, nullptr) != 1) {
      EVP_MD_CTX_free(context_);
      throw std::runtime_error("a digest is not available in this libcrypto");
    }
  }
  ~EvpDigest() override { EVP_MD_CTX_free(context_); }
  EvpDigest(const EvpDigest&) = delete;
  EvpDigest& operator=(const EvpDigest&) = delete;
  void Update(ByteSpan bytes) override { EVP_DigestUpdate(context_, bytes.data(), bytes.size()); }
  Bytes Finish() override {
    Bytes out(EVP_MAX_MD_SIZE);
    unsigned size = 0;
    EVP_DigestFinal_ex(context_, out.data(), &size);
    out.resize(size);
    return out;
  }

 private:
  EVP_MD_CTX* context_;
};

// Reflected CRCs, eight bytes a step.
template <typename Word, Word kPolynomial>
class Crc : public StreamingDigest {
 public:
  static const Word (&Tables())[8][256] {
    static const auto tables = [] {
      std::array<std::array<Word, 256>, 8> t{};
      for (unsigned i = 0; i < 256; ++i) {
        Word v = i;
        for (int bit = 0; bit < 8; ++bit) {
          v = (v >> 1) ^ ((v & 1) ? kPolynomial : 0);
        }
        t[0][i] = v;
      }
      for (unsigned i = 0; i < 256; ++i) {
        for (unsigned k = 1; k < 8; ++k) {
          t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
        }
      }
      return t;
    }();
    return reinterpret_cast<const Word(&)[8][256]>(tables);
  }
  void Update(ByteSpan bytes) override {
    const auto& t = Tables();
    const uint8_t* p = bytes.data();
    size_t n = bytes.size();
    Word crc = state_;
    for (; n >= 8; n -= 8, p += 8) {
      const uint64_t v = LoadLe64(p) ^ crc;
      crc = t[7][v & 0xff] ^ t[6][v >> 8 & 0xff] ^ t[5][v >> 16 & 0xff] ^ t[4][v >> 24 & 0xff] ^
            t[3][v >> 32 & 0xff] ^ t[2][v >> 40 & 0xff] ^ t[1][v >> 48 & 0xff] ^ t[0][v >> 56];
    }
    for (; n > 0; --n, ++p) {
      crc = (crc >> 8) ^ t[0][(crc ^ *p) & 0xff];
    }
    state_ = crc;
  }
  Bytes Finish() override { return ToBytes(static_cast<Word>(~state_)); }

  static Bytes ToBytes(Word value) {
    Bytes out(sizeof(Word));
    for (size_t i = 0; i < sizeof(Word); ++i) {
      out[i] = static_cast<uint8_t>(value >> (8 * (sizeof(Word) - 1 - i)));
    }
    return out;
  }
  static Word FromBytes(const Bytes& bytes) {
    Word value = 0;
    for (uint8_t byte : bytes) {
      value = static_cast<Word>(value << 8 | byte);
    }
    return value;
  }
  // Appending zeros is linear in the CRC's bits: a matrix per power of two of their number.
  static Bytes Combine(const Bytes& a, const Bytes& b, uint64_t size) {
    constexpr size_t kBits = 8 * sizeof(Word);
    using Matrix = std::array<Word, kBits>;
    const auto times = [](const Matrix& m, Word v) {
      Word sum = 0;
      for (size_t i = 0; v != 0; ++i, v >>= 1) {
        sum ^= (v & 1) ? m[i] : 0;
      }
      return sum;
    };
    Matrix m{};  // one zero bit
    m[0] = kPolynomial;
    for (size_t i = 1; i < kBits; ++i) {
      m[i] = Word{1} << (i - 1);
    }
    Word crc = FromBytes(a);
    const auto square = [&] {
      Matrix s{};
      for (size_t i = 0; i < kBits; ++i) {
        s[i] = times(m, m[i]);
      }
      m = s;
    };
    for (int i = 0; i < 3; ++i) {
      square();  // one zero byte
    }
    for (; size != 0; size >>= 1) {
      if (size & 1) {
        crc = times(m, crc);
      }
      square();
    }
    return ToBytes(crc ^ FromBytes(b));
  }

 private:
  Word state_ = static_cast<Word>(~Word{0});
};

using Crc32 = Crc<uint32_t, 0xEDB88320u>;
using Crc32c = Crc<uint32_t, 0x82F63B78u>;
// Combined as the others are, but computed with the processor's instruction.
class FastCrc32c : public StreamingDigest {
 public:
  void Update(ByteSpan bytes) override { crc_ = sqlite_s3::Crc32c(bytes, crc_); }
  Bytes Finish() override { return Crc32c::ToBytes(crc_); }

 private:
  uint32_t crc_ = 0;
};

using Crc64Nvme = Crc<uint64_t, 0x9A6C9329AC4BC9B5ull>;

}  // namespace

std::unique_ptr<StreamingDigest> NewDigest(DigestKind kind) {
  // Fetched once: a look-up by name for each body costs more than a small body's digest.
  static const EVP_MD* const md5 = EVP_MD_fetch(nullptr, "MD5", nullptr);
  static const EVP_MD* const sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  switch (kind) {
    case DigestKind::kMd5:
      return std::make_unique<EvpDigest>(md5);
    case DigestKind::kSha1:
      return std::make_unique<EvpDigest>(sha1);
    case DigestKind::kSha256:
      return std::make_unique<EvpDigest>(sha256);
    case DigestKind::kCrc32:
      return std::make_unique<Crc32>();
    case DigestKind::kCrc32c:
      return std::make_unique<FastCrc32c>();
    case DigestKind::kCrc64Nvme:
      return std::make_unique<Crc64Nvme>();
  }
  return nullptr;
}

Bytes DigestOf(DigestKind kind, ByteSpan bytes) {
  const std::unique_ptr<StreamingDigest> digest = NewDigest(kind);
  digest->Update(bytes);
  return digest->Finish();
}

size_t DigestSize(DigestKind kind) {
  switch (kind) {
    case DigestKind::kMd5:
      return 16;
    case DigestKind::kSha1:
      return 20;
    case DigestKind::kSha256:
      return 32;
    case DigestKind::kCrc32:
    case DigestKind::kCrc32c:
      return 4;
    case DigestKind::kCrc64Nvme:
      return 8;
  }
  return 0;
}

std::optional<DigestKind> ParseChecksumAlgorithm(std::string_view name) {
  for (const DigestKind kind : {DigestKind::kCrc32, DigestKind::kCrc32c, DigestKind::kCrc64Nvme,
                                DigestKind::kSha1, DigestKind::kSha256}) {
    if (EqualsIgnoringCase(name, ChecksumAlgorithmName(kind))) {
      return kind;
    }
  }
  return std::nullopt;
}

const char* ChecksumAlgorithmName(DigestKind kind) {
  switch (kind) {
    case DigestKind::kMd5:
      return "MD5";
    case DigestKind::kSha1:
      return "SHA1";
    case DigestKind::kSha256:
      return "SHA256";
    case DigestKind::kCrc32:
      return "CRC32";
    case DigestKind::kCrc32c:
      return "CRC32C";
    case DigestKind::kCrc64Nvme:
      return "CRC64NVME";
  }
  return "";
}

Bytes CombineCrc(DigestKind kind, const Bytes& a, const Bytes& b, uint64_t size_of_b) {
  switch (kind) {
    case DigestKind::kCrc32:
      return Crc32::Combine(a, b, size_of_b);
    case DigestKind::kCrc32c:
      return Crc32c::Combine(a, b, size_of_b);
    default:
      return Crc64Nvme::Combine(a, b, size_of_b);
  }
}

std::string HmacSha1Base64(std::string_view key, std::string_view message) {
  uint8_t out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()), AsBytes(message).data(),
       message.size(), out, &size);
  return EncodeBase64({out, size});
}

std::string EncodeBase64(ByteSpan bytes) {
  std::string out((bytes.size() + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(),
                  static_cast<int>(bytes.size()));
  return out;
}

std::optional<Bytes> DecodeBase64(std::string_view text) {
  if (text.size() % 4 != 0 || text.size() > (1u << 24)) {
    return std::nullopt;
  }
  Bytes out(text.size() / 4 * 3);
  const int size = EVP_DecodeBlock(out.data(), AsBytes(text).data(), static_cast<int>(text.size()));
  if (size < 0) {
    return std::nullopt;
  }
  for (size_t i = text.size(); i > 0 && text.size() - i < 2 && text[i - 1] == '='; --i) {
    out.pop_back();
  }
  if (EncodeBase64(out) != text) {
    return std::nullopt;
  }
  return out;
}

}  // namespace sqlite_s3::server
