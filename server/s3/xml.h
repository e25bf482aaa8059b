#pragma once
// S3's documents, over pugixml. Reading is bounded: size by the caller, depth here; pugixml knows
// no entities but the five and reads no DTD, so that a document cannot grow.

#include <memory>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "server/http/message.h"

namespace sqlite_s3::server {

inline constexpr size_t kMaxDocumentBytes = 1 << 20;

class XmlDocument {
 public:
  explicit XmlDocument(const char* root, bool with_namespace = true);
  pugi::xml_node root() { return root_; }
  void Add(const char* name, std::string_view text) { AddTo(root_, name, text); }
  static void AddTo(pugi::xml_node node, const char* name, std::string_view text);
  std::string Text() const;
  Response Answer(int status = 200) const;

 private:
  pugi::xml_document document_;
  pugi::xml_node root_;
};

// Null unless `text` is one well-formed document with that root, at most 16 deep. The elements'
// namespaces are not looked at.
std::unique_ptr<pugi::xml_document> ParseDocument(const std::string& text, std::string_view root);
// A child's text, trimmed; empty when there is none.
std::string ChildText(const pugi::xml_node& node, const char* name);

// "2023-11-14T22:13:20.000Z", as S3's documents have it.
std::string FormatIsoMillis(int64_t time_us);
// "Tue, 14 Nov 2023 22:13:20 GMT".
std::string FormatHttpTime(int64_t time_us);

}  // namespace sqlite_s3::server
