#include "common/store/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "common/base/ascii.h"

namespace sqlite_s3 {
namespace {

bool IsUnreserved(char c) {
  return IsAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

std::string DecodeOrKeep(std::string_view text) {
  auto decoded = UriDecode(text);
  return decoded ? std::move(*decoded) : std::string(text);
}

// Blanks at both ends go, runs of them inside become one.
void AppendTrimmed(std::string& out, std::string_view value) {
  const size_t start = out.size();
  bool pending = false;
  for (char c : value) {
    if (c == ' ' || c == '\t') {
      pending = out.size() > start;
      continue;
    }
    if (pending) {
      out.push_back(' ');
      pending = false;
    }
    out.push_back(c);
  }
}

struct CanonicalHeaders {
  std::string lines;  // "name:value\n" each: sorted by name, values of one name joined by commas
  std::string names;  // "host;x-amz-date"
};

CanonicalHeaders Canonical(const SignedRequest& request) {
  std::vector<const std::pair<std::string, std::string>*> sorted;
  sorted.reserve(request.headers.size());
  size_t bytes = 0;
  for (const auto& header : request.headers) {
    sorted.push_back(&header);
    bytes += header.first.size() + header.second.size() + 2;
  }
  // Values of one name stay in the order sent.
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->first < b->first; });
  CanonicalHeaders out;
  out.lines.reserve(bytes);
  out.names.reserve(bytes);
  const std::string* last = nullptr;
  for (const auto* header : sorted) {
    if (last != nullptr && *last == header->first) {
      out.lines.back() = ',';
    } else {
      out.lines += header->first;
      out.lines.push_back(':');
      if (last != nullptr) out.names.push_back(';');
      out.names += header->first;
    }
    AppendTrimmed(out.lines, header->second);
    out.lines.push_back('\n');
    last = &header->first;
  }
  return out;
}

std::string CanonicalRequest(const SignedRequest& request, const CanonicalHeaders& headers,
                             std::optional<std::string_view> leave_out_of_query) {
  const std::string query = CanonicalQuery(request.query, leave_out_of_query);
  std::string out;
  out.reserve(request.path.size() + query.size() + headers.lines.size() + headers.names.size() +
              request.payload_hash.size() + 16);
  for (std::string_view line : {std::string_view(request.method), std::string_view(request.path),
                                std::string_view(query)}) {
    out += line;
    out.push_back('\n');
  }
  out += headers.lines;
  out.push_back('\n');
  out += headers.names;
  out.push_back('\n');
  out += request.payload_hash;
  return out;
}

// Fetched once: by name, as SHA256() and HMAC() do each time, it costs more than a small message's
// hash, locks included. Never freed: threads may run this until the process ends.
const EVP_MD* Sha256Algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched != nullptr ? fetched : EVP_sha256();
}

class Sha256Context {
 public:
  Sha256Context() : context_(EVP_MD_CTX_new()) {}
  ~Sha256Context() { EVP_MD_CTX_free(context_); }
  Sha256Context(const Sha256Context&) = delete;
  Sha256Context& operator=(const Sha256Context&) = delete;
  Sha256Hash Of(std::initializer_list<ByteSpan> pieces) {
    Sha256Hash hash{};
    if (context_ == nullptr || EVP_DigestInit_ex(context_, Sha256Algorithm(), nullptr) != 1) {
      return hash;
    }
    for (ByteSpan piece : pieces) EVP_DigestUpdate(context_, piece.data(), piece.size());
    EVP_DigestFinal_ex(context_, hash.data(), nullptr);
    return hash;
  }

 private:
  EVP_MD_CTX* context_;
};

std::string Joined(std::initializer_list<std::string_view> lines) {
  std::string out;
  for (std::string_view line : lines) {
    if (!out.empty()) out.push_back('\n');
    out += line;
  }
  return out;
}

}  // namespace

Sha256Hash Sha256(ByteSpan bytes) { return Sha256Context().Of({bytes}); }

std::string Sha256Hex(ByteSpan bytes) { return HexEncode(Sha256(bytes)); }

// RFC 2104.
Sha256Hash HmacSha256(ByteSpan key, ByteSpan message) {
  Sha256Context context;
  std::array<uint8_t, 64> pad{};
  if (key.size() > pad.size()) {
    const Sha256Hash hash = context.Of({key});
    std::copy(hash.begin(), hash.end(), pad.begin());
  } else {
    std::copy(key.begin(), key.end(), pad.begin());
  }
  for (uint8_t& byte : pad) byte ^= 0x36;
  const Sha256Hash inner = context.Of({pad, message});
  for (uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  const Sha256Hash outer = context.Of({pad, inner});
  OPENSSL_cleanse(pad.data(), pad.size());
  return outer;
}

bool EqualInConstantTime(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string UriEncode(std::string_view text, bool encode_slash) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (char c : text) {
    if (IsUnreserved(c) || (c == '/' && !encode_slash)) {
      out.push_back(c);
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::optional<std::string> UriDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    int high = i + 1 < text.size() ? HexDigitValue(text[i + 1]) : -1;
    int low = i + 2 < text.size() ? HexDigitValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

std::string CanonicalQuery(std::string_view raw_query, std::optional<std::string_view> leave_out) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!raw_query.empty()) {
    size_t end = std::min(raw_query.find('&'), raw_query.size());
    std::string_view parameter = raw_query.substr(0, end);
    raw_query.remove_prefix(std::min(end + 1, raw_query.size()));
    if (parameter.empty()) {
      continue;
    }
    size_t equals = std::min(parameter.find('='), parameter.size());
    std::string name = DecodeOrKeep(parameter.substr(0, equals));
    std::string_view value = parameter.substr(std::min(equals + 1, parameter.size()));
    if (!leave_out || name != *leave_out) {
      parameters.emplace_back(UriEncode(name, true), UriEncode(DecodeOrKeep(value), true));
    }
  }
  std::sort(parameters.begin(), parameters.end());
  std::string out;
  for (const auto& [name, value] : parameters) {
    if (!out.empty()) out.push_back('&');
    out += name;
    out.push_back('=');
    out += value;
  }
  return out;
}

std::string SignedHeaderNames(const SignedRequest& request) { return Canonical(request).names; }

std::string CanonicalRequest(const SignedRequest& request,
                             std::optional<std::string_view> leave_out_of_query) {
  return CanonicalRequest(request, Canonical(request), leave_out_of_query);
}

std::string CredentialScope(std::string_view amz_date, std::string_view region,
                            std::string_view service) {
  std::string out(amz_date.substr(0, 8));
  for (std::string_view part : {region, service, std::string_view("aws4_request")}) {
    out.push_back('/');
    out += part;
  }
  return out;
}

std::string FormatAmzDate(int64_t wall_us) {
  time_t seconds = wall_us / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  size_t length = strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return std::string(text, length);
}

std::optional<int64_t> ParseAmzDate(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') {
    return std::nullopt;
  }
  auto number = [&](size_t from, size_t count) {
    int value = 0;
    for (char c : text.substr(from, count)) {
      value = c >= '0' && c <= '9' && value >= 0 ? value * 10 + (c - '0') : -1;
    }
    return value;
  };
  tm parts{};
  parts.tm_year = number(0, 4) - 1900;
  parts.tm_mon = number(4, 2) - 1;
  parts.tm_mday = number(6, 2);
  parts.tm_hour = number(9, 2);
  parts.tm_min = number(11, 2);
  parts.tm_sec = number(13, 2);
  if (number(0, 4) < 1970) {
    return std::nullopt;
  }
  int64_t wall_us = int64_t{timegm(&parts)} * 1'000'000;
  // timegm takes February 30th and any number that went wrong above; what it made of them then
  // prints differently.
  return FormatAmzDate(wall_us) == text ? std::optional<int64_t>(wall_us) : std::nullopt;
}

std::string StringToSign(std::string_view amz_date, std::string_view scope,
                         std::string_view canonical_request) {
  return Joined({kSigV4Algorithm, amz_date, scope, Sha256Hex(AsBytes(canonical_request))});
}

Sha256Hash DeriveSigningKey(std::string_view secret, std::string_view date, std::string_view region,
                            std::string_view service) {
  std::string first = "AWS4" + std::string(secret);
  Sha256Hash key = HmacSha256(AsBytes(first), AsBytes(date));
  OPENSSL_cleanse(first.data(), first.size());
  for (std::string_view part : {region, service, std::string_view("aws4_request")}) {
    key = HmacSha256(key, AsBytes(part));
  }
  return key;
}

std::string Signature(const Sha256Hash& key, std::string_view string_to_sign) {
  return HexEncode(HmacSha256(key, AsBytes(string_to_sign)));
}

std::string ChunkStringToSign(std::string_view amz_date, std::string_view scope,
                              std::string_view previous_signature, std::string_view chunk_hash) {
  return Joined({"AWS4-HMAC-SHA256-PAYLOAD", amz_date, scope, previous_signature, kEmptyPayloadHash,
                 chunk_hash});
}

std::string TrailerStringToSign(std::string_view amz_date, std::string_view scope,
                                std::string_view previous_signature,
                                std::string_view trailer_hash) {
  return Joined({"AWS4-HMAC-SHA256-TRAILER", amz_date, scope, previous_signature, trailer_hash});
}

std::string AuthorizationHeader(const SignedRequest& request, std::string_view amz_date,
                                const SigningIdentity& identity) {
  return AuthorizationHeader(request, amz_date, identity,
                             DeriveSigningKey(identity.secret_access_key, amz_date.substr(0, 8),
                                              identity.region, identity.service));
}

std::string AuthorizationHeader(const SignedRequest& request, std::string_view amz_date,
                                const SigningIdentity& identity, const Sha256Hash& key) {
  const std::string scope = CredentialScope(amz_date, identity.region, identity.service);
  const CanonicalHeaders headers = Canonical(request);
  const std::string signature = Signature(
      key, StringToSign(amz_date, scope, CanonicalRequest(request, headers, std::nullopt)));
  std::string out;
  out.reserve(160 + identity.access_key_id.size() + scope.size() + headers.names.size());
  for (std::string_view part :
       {kSigV4Algorithm, std::string_view(" Credential="), std::string_view(identity.access_key_id),
        std::string_view("/"), std::string_view(scope), std::string_view(",SignedHeaders="),
        std::string_view(headers.names), std::string_view(",Signature="),
        std::string_view(signature)}) {
    out += part;
  }
  return out;
}

Sha256Hash SigningKeyCache::Get(const SigningIdentity& identity, std::string_view amz_date) {
  const std::string_view date = amz_date.substr(0, 8);
  std::lock_guard lock(mutex_);
  if (date != date_ || identity.secret_access_key != secret_ || identity.region != region_ ||
      identity.service != service_) {
    key_ = DeriveSigningKey(identity.secret_access_key, date, identity.region, identity.service);
    date_ = date;
    secret_ = identity.secret_access_key;
    region_ = identity.region;
    service_ = identity.service;
  }
  return key_;
}

std::string PresignedQuery(SignedRequest request, std::string_view amz_date, int expires_s,
                           const SigningIdentity& identity) {
  std::string scope = CredentialScope(amz_date, identity.region, identity.service);
  auto add = [&](std::string_view name, std::string_view value) {
    if (!request.query.empty()) request.query.push_back('&');
    request.query += name;
    request.query.push_back('=');
    request.query += UriEncode(value, true);
  };
  add("X-Amz-Algorithm", kSigV4Algorithm);
  add("X-Amz-Credential", identity.access_key_id + "/" + scope);
  add("X-Amz-Date", amz_date);
  add("X-Amz-Expires", std::to_string(expires_s));
  if (!identity.session_token.empty()) {
    add("X-Amz-Security-Token", identity.session_token);
  }
  add("X-Amz-SignedHeaders", SignedHeaderNames(request));
  request.payload_hash = kUnsignedPayload;
  Sha256Hash key = DeriveSigningKey(identity.secret_access_key, amz_date.substr(0, 8),
                                    identity.region, identity.service);
  return request.query + "&X-Amz-Signature=" +
         Signature(key, StringToSign(amz_date, scope, CanonicalRequest(request)));
}

}  // namespace sqlite_s3
