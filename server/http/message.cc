#include "server/http/message.h"

#include <algorithm>

#include "common/base/ascii.h"

namespace sqlite_s3::server {
namespace {

class Collected : public Exchange {
 public:
  Collected(size_t limit, std::function<Response()> too_large,
            std::function<Response(std::string)> answer)
      : limit_(limit), too_large_(std::move(too_large)), answer_(std::move(answer)) {}
  void OnBody(ByteSpan bytes) override {
    if (overflow_ || bytes.size() > limit_ - body_.size()) {
      overflow_ = true;
      return;
    }
    body_ += AsText(bytes);
  }
  Response Finish() override { return overflow_ ? too_large_() : answer_(std::move(body_)); }

 private:
  size_t limit_;
  std::function<Response()> too_large_;
  std::function<Response(std::string)> answer_;
  std::string body_;
  bool overflow_ = false;
};

class Known : public Exchange {
 public:
  explicit Known(Response response) : response_(std::move(response)) {}
  std::optional<Response> Early() override { return std::move(response_); }
  void OnBody(ByteSpan) override {}
  Response Finish() override { return std::move(response_); }

 private:
  Response response_;
};

}  // namespace

std::string_view TrimSpaces(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

void Headers::Set(std::string_view name, std::string value) {
  Remove(name);
  Add(std::string(name), std::move(value));
}

void Headers::Remove(std::string_view name) {
  std::erase_if(items_, [&](const Item& item) { return EqualsIgnoringCase(item.first, name); });
}

const std::string* Headers::Find(std::string_view name) const {
  for (const Item& item : items_) {
    if (EqualsIgnoringCase(item.first, name)) {
      return &item.second;
    }
  }
  return nullptr;
}

std::string Headers::Get(std::string_view name) const {
  const std::string* value = Find(name);
  return value ? *value : std::string();
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? HexDigitValue(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigitValue(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return std::nullopt;
      }
      out += static_cast<char>(high << 4 | low);
      i += 2;
    }
  }
  return out;
}

std::optional<Query> Query::Parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const size_t end = text.find('&');
    const std::string_view item = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (item.empty()) {
      continue;
    }
    const size_t equals = item.find('=');
    std::optional<std::string> name = PercentDecode(item.substr(0, equals), true);
    std::optional<std::string> value = equals == std::string_view::npos
                                           ? std::optional<std::string>("")
                                           : PercentDecode(item.substr(equals + 1), true);
    if (!name || !value) {
      return std::nullopt;
    }
    query.items_.emplace_back(std::move(*name), std::move(*value));
  }
  return query;
}

const std::string* Query::Find(std::string_view name) const {
  for (const auto& item : items_) {
    if (item.first == name) {
      return &item.second;
    }
  }
  return nullptr;
}

std::string Query::Get(std::string_view name) const {
  const std::string* value = Find(name);
  return value ? *value : std::string();
}

std::unique_ptr<Exchange> CollectBody(size_t limit, std::function<Response()> too_large,
                                      std::function<Response(std::string)> answer) {
  return std::make_unique<Collected>(limit, std::move(too_large), std::move(answer));
}

std::unique_ptr<Exchange> AnswerNow(Response response) {
  return std::make_unique<Known>(std::move(response));
}

}  // namespace sqlite_s3::server
