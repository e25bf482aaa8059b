#pragma once
// What all JSON documents share: limits, the format version, the digest at the end, and checked
// access to fields. Internal to common/format; only documents.cc and document_json.cc include this.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/hash.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace sqlite_s3 {

using DocumentJson = nlohmann::ordered_json;  // for writing: fields in the order they were set
// For reading: the ordered one looks for each new field among all before it, which hostile input
// with many fields would turn into hours.
using ParsedJson = nlohmann::json;

// {"format": 1, "kind": kind}
DocumentJson NewDocument(std::string_view kind);
// The text, with the digest of all before it as the last member.
std::string SealDocument(const DocumentJson& json);

// Reads fields of one object. The first thing wrong is kept; everything after it yields zeros.
class DocumentReader {
 public:
  explicit DocumentReader(const ParsedJson& json) : json_(json) {}

  bool ok() const { return error_.empty(); }
  const std::string& error() const { return error_; }
  void Require(bool condition, std::string_view field, std::string_view what);

  std::string Text(std::string_view field);
  bool Bool(std::string_view field);
  uint64_t U64(std::string_view field);
  uint32_t U32(std::string_view field);
  uint64_t Hex(std::string_view field);  // 16 digits
  int64_t Time(std::string_view field);
  sqlite_s3::Txid TxidField(std::string_view field);
  TimelineId Timeline(std::string_view field);
  WriterId Writer(std::string_view field);
  DatabaseId DatabaseIdField(std::string_view field);
  Digest DigestField(std::string_view field);
  ChecksumKey ChecksumKeyField(std::string_view field);

  // Calls `read` with a reader of each object of an array.
  template <typename Read>
  void EachOf(std::string_view field, Read read) {
    const ParsedJson* array = Find(field);
    Require(array != nullptr && array->is_array(), field, "not an array");
    for (size_t i = 0; ok() && i < array->size(); ++i) {
      DocumentReader element((*array)[i]);
      read(element);
      if (!element.ok()) {
        error_ = std::string(field) + "[" + std::to_string(i) + "]: " + element.error();
      }
    }
  }

 private:
  const ParsedJson* Find(std::string_view field) const;
  template <typename T>
  T Parsed(std::string_view field, Result<T> (*parse)(std::string_view));

  const ParsedJson& json_;
  std::string error_;
};

// Checks size, depth, syntax, version, kind and digest. Never throws.
Result<ParsedJson> ParseDocument(std::string_view text, std::string_view kind);

// Parses and reads a document of type T with `read(DocumentReader&) -> T`.
template <typename T, typename Read>
Result<T> ReadDocument(std::string_view text, std::string_view key, std::string_view kind,
                       Read read) {
  try {
    Result<ParsedJson> json = ParseDocument(text, kind);
    if (!json.ok()) {
      return json.status().WithContext(key);
    }
    DocumentReader in(*json);
    T document = read(in);
    if (!in.ok()) {
      return CorruptionError(in.error()).WithContext(key);
    }
    return document;
  } catch (const std::exception& e) {  // out of memory; nlohmann's own are not provoked
    return ResourceExhaustedError(e.what()).WithContext(key);
  }
}

}  // namespace sqlite_s3
