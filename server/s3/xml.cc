#include "server/s3/xml.h"

#include <fmt/format.h>
#include <time.h>

namespace sqlite_s3::server {
namespace {

struct DepthLimit : pugi::xml_tree_walker {
  bool for_each(pugi::xml_node&) override { return depth() < 16; }
};

}  // namespace

XmlDocument::XmlDocument(const char* root, bool with_namespace) {
  pugi::xml_node declaration = document_.append_child(pugi::node_declaration);
  declaration.append_attribute("version") = "1.0";
  declaration.append_attribute("encoding") = "UTF-8";
  root_ = document_.append_child(root);
  if (with_namespace) {
    root_.append_attribute("xmlns") = "http://s3.amazonaws.com/doc/2006-03-01/";
  }
}

void XmlDocument::AddTo(pugi::xml_node node, const char* name, std::string_view text) {
  node.append_child(name).text().set(std::string(text).c_str());
}

std::string XmlDocument::Text() const {
  struct Writer : pugi::xml_writer {
    void write(const void* data, size_t size) override {
      out.append(static_cast<const char*>(data), size);
    }
    std::string out;
  } writer;
  document_.save(writer, "", pugi::format_raw);
  return std::move(writer.out);
}

Response XmlDocument::Answer(int status) const {
  Response response;
  response.status = status;
  response.headers.Add("Content-Type", "application/xml");
  response.body = Text();
  return response;
}

std::unique_ptr<pugi::xml_document> ParseDocument(const std::string& text, std::string_view root) {
  auto document = std::make_unique<pugi::xml_document>();
  if (text.size() > kMaxDocumentBytes ||
      !document->load_buffer(text.data(), text.size(),
                             pugi::parse_default | pugi::parse_ws_pcdata_single,
                             pugi::encoding_utf8)) {
    return nullptr;
  }
  DepthLimit limit;
  if (document->document_element().name() != root || !document->traverse(limit)) {
    return nullptr;
  }
  return document;
}

std::string ChildText(const pugi::xml_node& node, const char* name) {
  return std::string(TrimSpaces(node.child(name).text().get()));
}

namespace {

struct tm UtcOf(int64_t time_us) {
  int64_t seconds = time_us / 1'000'000;
  if (time_us % 1'000'000 < 0) {
    --seconds;
  }
  const time_t value = static_cast<time_t>(seconds);
  struct tm out {};
  ::gmtime_r(&value, &out);
  return out;
}

}  // namespace

std::string FormatIsoMillis(int64_t time_us) {
  const struct tm t = UtcOf(time_us);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", t.tm_year + 1900, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, time_us % 1'000'000 / 1000);
}

std::string FormatHttpTime(int64_t time_us) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const struct tm t = UtcOf(time_us);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[t.tm_wday], t.tm_mday,
                     kMonths[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

}  // namespace sqlite_s3::server
