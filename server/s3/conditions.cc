#include "server/s3/conditions.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "server/s3/xml.h"

namespace sqlite_s3::server {
namespace {

S3Error ConditionFailed(const char* condition) {
  return MakeError("PreconditionFailed").With("Condition", condition);
}

}  // namespace

std::string Quoted(const std::string& etag) { return "\"" + etag + "\""; }

std::string StripEtag(std::string_view text) {
  text = TrimSpaces(text.substr(0, text.find(',')));
  if (text.rfind("W/", 0) == 0) {
    text.remove_prefix(2);
  }
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return std::string(text);
}

bool EtagListed(const std::string& header, const std::string& etag) {
  std::string_view rest(header);
  for (;;) {
    const size_t comma = rest.find(',');
    const std::string item = StripEtag(rest.substr(0, comma));
    if (item == "*" || item == etag) {
      return true;
    }
    if (comma == std::string_view::npos) {
      return false;
    }
    rest = rest.substr(comma + 1);
  }
}

WriteConditions ReadWriteConditions(const Call& call) {
  WriteConditions out;
  if (call.ignore_conditions) {
    return out;
  }
  if (const std::string* match = call.request.headers.Find("if-match")) {
    out.if_match = StripEtag(*match);
  }
  if (const std::string* none = call.request.headers.Find("if-none-match")) {
    out.if_none_match = StripEtag(*none);
  }
  return out;
}

std::optional<S3Error> CheckReadConditions(const Headers& headers, const ObjectInfo& info) {
  const int64_t modified_s = info.modified_us / 1'000'000;
  const auto not_modified = [&] {
    S3Error error = MakeError("NotModified");
    error.status = 304;
    return std::move(error)
        .WithHeader("ETag", Quoted(info.etag))
        .WithHeader("Last-Modified", FormatHttpTime(info.modified_us));
  };
  if (const std::string* match = headers.Find("if-match")) {
    if (!EtagListed(*match, info.etag)) {
      return ConditionFailed("If-Match");
    }
  } else if (const std::string* since = headers.Find("if-unmodified-since")) {
    const auto when = ParseAnyDate(*since);
    if (when && modified_s > *when / 1'000'000) {
      return ConditionFailed("If-Unmodified-Since");
    }
  }
  if (const std::string* none = headers.Find("if-none-match")) {
    if (EtagListed(*none, info.etag)) {
      return not_modified();
    }
  } else if (const std::string* since = headers.Find("if-modified-since")) {
    const auto when = ParseAnyDate(*since);
    if (when && modified_s <= *when / 1'000'000) {
      return not_modified();
    }
  }
  return std::nullopt;
}

S3Result<std::optional<ByteRange>> ParseRange(const std::string& header, uint64_t size_bytes) {
  constexpr std::string_view kUnit = "bytes=";
  const std::optional<ByteRange> whole;
  if (header.rfind(kUnit, 0) != 0 || header.find(',') != std::string::npos) {
    return whole;
  }
  const std::string_view spec = TrimSpaces(std::string_view(header).substr(kUnit.size()));
  const size_t dash = spec.find('-');
  if (dash == std::string_view::npos) {
    return whole;
  }
  const auto number = [](std::string_view text) -> std::optional<uint64_t> {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::result_out_of_range) {
      return UINT64_MAX;
    }
    return text.empty() || error != std::errc() || end != text.data() + text.size()
               ? std::nullopt
               : std::optional<uint64_t>(value);
  };
  const std::string_view first_text = spec.substr(0, dash);
  const std::string_view last_text = spec.substr(dash + 1);
  const auto outside = [&] {
    return MakeError("InvalidRange")
        .With("RangeRequested", header)
        .With("ActualObjectSize", fmt::format("{}", size_bytes))
        .WithHeader("Content-Range", fmt::format("bytes */{}", size_bytes));
  };
  const std::optional<uint64_t> last = number(last_text);
  if (first_text.empty()) {  // the last N bytes
    if (!last) {
      return whole;
    }
    if (*last == 0 || size_bytes == 0) {
      return outside();
    }
    const uint64_t length = std::min(*last, size_bytes);
    return std::optional<ByteRange>({size_bytes - length, length});
  }
  const std::optional<uint64_t> first = number(first_text);
  if (!first || (!last && !last_text.empty()) || (last && *last < *first)) {
    return whole;
  }
  if (*first >= size_bytes) {
    return outside();
  }
  const uint64_t end = last ? std::min(*last, size_bytes - 1) : size_bytes - 1;
  return std::optional<ByteRange>({*first, end - *first + 1});
}

}  // namespace sqlite_s3::server
