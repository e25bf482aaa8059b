#include "common/format/document_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "common/base/time.h"
#include "common/format/documents.h"

namespace sqlite_s3 {
namespace {

constexpr int kMaxDepth = 16;
constexpr std::string_view kDigestOpening = ",\n  \"digest\": \"";
constexpr std::string_view kDigestClosing = "\"\n}\n";
constexpr size_t kDigestDigits = 32;

// The parser itself does not recurse, but what it builds is as deep as the text.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) {
        return true;
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

bool DigestFits(std::string_view text) {
  size_t tail = kDigestOpening.size() + kDigestDigits + kDigestClosing.size();
  if (text.size() < tail || !text.ends_with(kDigestClosing)) {
    return false;
  }
  std::string_view covered = text.substr(0, text.size() - tail);
  return text.substr(covered.size()).starts_with(kDigestOpening) &&
         text.substr(covered.size() + kDigestOpening.size(), kDigestDigits) ==
             FormatDigest(ComputeDigest(AsBytes(covered)));
}

Result<ChecksumKey> ParseChecksumKey(std::string_view text) {
  ChecksumKey key;
  auto bytes = HexDecode(text);
  if (!bytes || bytes->size() != key.bytes.size()) {
    return InvalidArgumentError("not 64 hex digits");  // the text itself is a secret
  }
  std::ranges::copy(*bytes, key.bytes.begin());
  return key;
}

Result<uint64_t> ParseHex64(std::string_view text) {
  auto parsed = ParseWriterId(text);  // the same 16 digits
  if (!parsed.ok()) {
    return InvalidArgumentError("not 16 lower-case hex digits");
  }
  return parsed->value;
}

}  // namespace

DocumentJson NewDocument(std::string_view kind) {
  DocumentJson json;
  json["format"] = kFormatVersion;
  json["kind"] = kind;
  return json;
}

std::string SealDocument(const DocumentJson& json) {
  std::string text =
      json.dump(2, ' ', /*ensure_ascii=*/true, DocumentJson::error_handler_t::replace);
  text.resize(text.size() - 2);  // "\n}" comes again behind the digest
  std::string digest = FormatDigest(ComputeDigest(AsBytes(text)));
  return fmt::format("{}{}{}{}", text, kDigestOpening, digest, kDigestClosing);
}

Result<ParsedJson> ParseDocument(std::string_view text, std::string_view kind) {
  if (text.size() > kMaxDocumentBytes) {
    return CorruptionError(fmt::format("document of {} bytes, at most {} are allowed", text.size(),
                                       kMaxDocumentBytes));
  }
  if (TooDeep(text)) {
    return CorruptionError("document is nested too deeply");
  }
  ParsedJson json = ParsedJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return CorruptionError("not a JSON object");
  }
  DocumentReader in(json);
  // Before anything else: all that a version promises to later ones is this field.
  uint64_t format = in.U64("format");
  if (in.ok() && format > kFormatVersion) {
    return UnimplementedError(
        fmt::format("document of format version {}, this program reads up to {}, hint: use a newer "
                    "version of it",
                    format, kFormatVersion));
  }
  in.Require(format == kFormatVersion, "format", "unknown");
  in.Require(in.Text("kind") == kind, "kind", fmt::format("not \"{}\"", kind));
  if (!in.ok()) {
    return CorruptionError(in.error());
  }
  if (!DigestFits(text)) {
    return CorruptionError("digest: does not fit the bytes before it");
  }
  return json;
}

void DocumentReader::Require(bool condition, std::string_view field, std::string_view what) {
  if (!condition && ok()) {
    error_ = fmt::format("{}: {}", field, what);
  }
}

const ParsedJson* DocumentReader::Find(std::string_view field) const {
  if (!json_.is_object()) {
    return nullptr;
  }
  auto it = json_.find(std::string(field));
  return it == json_.end() ? nullptr : &*it;
}

std::string DocumentReader::Text(std::string_view field) {
  const ParsedJson* value = Find(field);
  const auto* text = value == nullptr ? nullptr : value->get_ptr<const std::string*>();
  Require(text != nullptr, field, "not a string");
  return text == nullptr ? std::string() : *text;
}

bool DocumentReader::Bool(std::string_view field) {
  const ParsedJson* value = Find(field);
  const auto* flag = value == nullptr ? nullptr : value->get_ptr<const ParsedJson::boolean_t*>();
  Require(flag != nullptr, field, "not true or false");
  return flag != nullptr && *flag;
}

uint64_t DocumentReader::U64(std::string_view field) {
  const ParsedJson* value = Find(field);
  const auto* number =
      value == nullptr ? nullptr : value->get_ptr<const ParsedJson::number_unsigned_t*>();
  Require(number != nullptr, field, "not a whole number");
  return number == nullptr ? 0 : *number;
}

uint32_t DocumentReader::U32(std::string_view field) {
  uint64_t number = U64(field);
  bool fits = number <= std::numeric_limits<uint32_t>::max();
  Require(fits, field, "too large");
  return fits ? static_cast<uint32_t>(number) : 0;
}

template <typename T>
T DocumentReader::Parsed(std::string_view field, Result<T> (*parse)(std::string_view)) {
  std::string text = Text(field);
  if (!ok()) {
    return {};
  }
  Result<T> parsed = parse(text);
  Require(parsed.ok(), field, parsed.status().message());
  return parsed.ok() ? *parsed : T{};
}

uint64_t DocumentReader::Hex(std::string_view field) { return Parsed(field, &ParseHex64); }
int64_t DocumentReader::Time(std::string_view field) { return Parsed(field, &ParseTimeUtc); }
Txid DocumentReader::TxidField(std::string_view field) { return Parsed(field, &ParseTxid); }
TimelineId DocumentReader::Timeline(std::string_view field) {
  return Parsed(field, &ParseTimeline);
}
WriterId DocumentReader::Writer(std::string_view field) { return Parsed(field, &ParseWriterId); }
DatabaseId DocumentReader::DatabaseIdField(std::string_view field) {
  return Parsed(field, &ParseDatabaseId);
}
Digest DocumentReader::DigestField(std::string_view field) { return Parsed(field, &ParseDigest); }
ChecksumKey DocumentReader::ChecksumKeyField(std::string_view field) {
  return Parsed(field, &ParseChecksumKey);
}

}  // namespace sqlite_s3
