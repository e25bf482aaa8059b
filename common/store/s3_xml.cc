#include "common/store/s3_xml.h"

#include <charconv>
#include <cstring>
#include <pugixml.hpp>

#include "common/store/http_date.h"
#include "common/store/sigv4.h"

namespace sqlite_s3 {
namespace {

constexpr int kMaxDepth = 16;

// Before the parser sees it: no document of S3 is nested deeper, and none declares types.
bool IsPlausible(std::string_view text) {
  if (text.size() > kMaxXmlBytes || text.find("<!DOCTYPE") != std::string_view::npos) {
    return false;
  }
  int depth = 0;
  for (size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at + 1)) {
    char next = at + 1 < text.size() ? text[at + 1] : '\0';
    if (next == '/') {
      --depth;
    } else if (next != '?' && next != '!') {
      size_t end = text.find('>', at);
      bool closed = end != std::string_view::npos && text[end - 1] == '/';
      if (!closed && ++depth > kMaxDepth) return false;
    }
  }
  return true;
}

bool Load(ByteSpan body, pugi::xml_document& document) {
  return IsPlausible(AsText(body)) &&
         document.load_buffer(body.data(), body.size(),
                              pugi::parse_default | pugi::parse_ws_pcdata_single,
                              pugi::encoding_utf8);
}

Status NotA(const char* what, ByteSpan body) {
  return CorruptionError("the store's answer of " + std::to_string(body.size()) + " bytes is no " +
                         what);
}

S3ErrorDocument ErrorOf(const pugi::xml_node& node) {
  return {node.child_value("Code"), node.child_value("Message"), node.child_value("Region")};
}

bool ParseNumber(const char* text, uint64_t& out) {
  const char* end = text + std::strlen(text);
  auto [stop, error] = std::from_chars(text, end, out);
  return error == std::errc() && stop == end && text != end;
}

std::string XmlEscaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

std::string DecodedKey(const pugi::xml_node& node, const char* child, bool encoded) {
  std::string key = node.child_value(child);
  if (encoded) {
    for (char& c : key) {
      if (c == '+') c = ' ';  // encoding-type=url writes a plus itself as %2B
    }
    if (auto decoded = UriDecode(key)) return *decoded;
  }
  return key;
}

}  // namespace

bool ParseErrorDocument(ByteSpan body, S3ErrorDocument& out) {
  pugi::xml_document document;
  if (!Load(body, document)) {
    return false;
  }
  pugi::xml_node error = document.child("Error");
  if (!error) error = document.child("ErrorResponse").child("Error");
  if (!error || error.child_value("Code")[0] == '\0') {
    return false;
  }
  out = ErrorOf(error);
  return true;
}

Result<S3ListPage> ParseListPage(ByteSpan body) {
  pugi::xml_document document;
  if (!Load(body, document) || !document.child("ListBucketResult")) {
    return NotA("listing", body);
  }
  pugi::xml_node root = document.child("ListBucketResult");
  const bool encoded = std::strcmp(root.child_value("EncodingType"), "url") == 0;
  S3ListPage page;
  page.truncated = std::strcmp(root.child_value("IsTruncated"), "true") == 0;
  page.continuation_token = root.child_value("NextContinuationToken");
  for (pugi::xml_node node : root.children("Contents")) {
    S3ListedObject object;
    object.key = DecodedKey(node, "Key", encoded);
    auto modified = ParseIsoDate(node.child_value("LastModified"));
    if (object.key.empty() || !ParseNumber(node.child_value("Size"), object.size_bytes) ||
        !modified) {
      return NotA("listing: an entry lacks its key, size or time", body);
    }
    object.modified_us = *modified;
    page.objects.push_back(std::move(object));
  }
  return page;
}

Result<std::string> ParseInitiatedUpload(ByteSpan body) {
  return ParseElementText(body, "UploadId");
}

Result<std::string> ParseElementText(ByteSpan body, const char* path) {
  pugi::xml_document document;
  if (!Load(body, document)) {
    return NotA("document", body);
  }
  pugi::xml_node node = document.document_element().first_element_by_path(path);
  if (!node || node.child_value()[0] == '\0') {
    return NotA((std::string("document with ") + path).c_str(), body);
  }
  return std::string(node.child_value());
}

Result<S3UploadPage> ParseUploadPage(ByteSpan body) {
  pugi::xml_document document;
  if (!Load(body, document) || !document.child("ListMultipartUploadsResult")) {
    return NotA("list of uploads", body);
  }
  pugi::xml_node root = document.child("ListMultipartUploadsResult");
  const bool encoded = std::strcmp(root.child_value("EncodingType"), "url") == 0;
  S3UploadPage page;
  page.truncated = std::strcmp(root.child_value("IsTruncated"), "true") == 0;
  page.next_key = DecodedKey(root, "NextKeyMarker", encoded);
  page.next_id = root.child_value("NextUploadIdMarker");
  for (pugi::xml_node node : root.children("Upload")) {
    S3Upload upload{DecodedKey(node, "Key", encoded), node.child_value("UploadId"), 0};
    auto initiated = ParseIsoDate(node.child_value("Initiated"));
    if (upload.key.empty() || upload.id.empty() || !initiated) {
      return NotA("list of uploads: an entry lacks its key, id or time", body);
    }
    upload.initiated_us = *initiated;
    page.uploads.push_back(std::move(upload));
  }
  return page;
}

Result<std::vector<S3DeleteError>> ParseDeleteErrors(ByteSpan body) {
  pugi::xml_document document;
  if (!Load(body, document) || !document.child("DeleteResult")) {
    return NotA("answer to a delete", body);
  }
  std::vector<S3DeleteError> errors;
  for (pugi::xml_node node : document.child("DeleteResult").children("Error")) {
    errors.push_back(
        {node.child_value("Key"), node.child_value("Code"), node.child_value("Message")});
  }
  return errors;
}

std::string FormatDelete(const std::vector<std::string>& keys) {
  std::string out = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>";
  for (const std::string& key : keys) {
    out += "<Object><Key>";
    out += XmlEscaped(key);
    out += "</Key></Object>";
  }
  return out + "</Delete>";
}

std::string FormatCompleteUpload(const std::vector<S3CompletedPart>& parts,
                                 std::string_view algorithm) {
  std::string out = "<CompleteMultipartUpload>";
  for (size_t i = 0; i < parts.size(); ++i) {
    out += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" +
           XmlEscaped(parts[i].etag) + "</ETag>";
    if (!parts[i].checksum.empty()) {
      for (std::string_view piece :
           {std::string_view("<Checksum"), algorithm, std::string_view(">"),
            std::string_view(parts[i].checksum), std::string_view("</Checksum"), algorithm,
            std::string_view(">")}) {
        out += piece;
      }
    }
    out += "</Part>";
  }
  return out + "</CompleteMultipartUpload>";
}

}  // namespace sqlite_s3
