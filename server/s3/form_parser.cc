#include "server/s3/form_parser.h"

#include <algorithm>

#include "common/base/ascii.h"
#include "server/http/message.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxHeaderBytes = 8 * 1024;
constexpr size_t kMaxFieldBytes = 64 * 1024;  // all fields and their headers together

// The parameter `name` of a header such as: form-data; name="key"; filename="a b".
std::optional<std::string> Parameter(const std::string& header, const std::string& name) {
  const std::string lower = ToLower(header);
  size_t at = 0;
  while ((at = lower.find(name + "=", at)) != std::string::npos) {
    const bool starts = at > 0 && (lower[at - 1] == ' ' || lower[at - 1] == ';');
    at += name.size() + 1;
    if (!starts) {
      continue;
    }
    if (at < header.size() && header[at] == '"') {
      const size_t end = header.find('"', at + 1);
      return end == std::string::npos ? std::nullopt
                                      : std::optional(header.substr(at + 1, end - at - 1));
    }
    return std::string(TrimSpaces(header.substr(at, header.find(';', at) - at)));
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> FormParser::BoundaryOf(const std::string& content_type) {
  std::optional<std::string> boundary = Parameter(content_type, "boundary");
  if (!boundary || boundary->empty() || boundary->size() > 200) {
    return std::nullopt;
  }
  return boundary;
}

FormParser::FormParser(const std::string& boundary, Events events)
    : delimiter_("\r\n--" + boundary), events_(std::move(events)), buffer_("\r\n") {}

void FormParser::Fail(std::string_view code) {
  if (!error_) {
    error_ = MakeError(code);
  }
}

void FormParser::Feed(ByteSpan bytes) {
  if (error_ || state_ == State::kDone) {
    return;
  }
  buffer_ += AsText(bytes);
  while (!error_ && state_ != State::kDone && Step()) {
  }
}

bool FormParser::Step() {
  switch (state_) {
    case State::kBoundary:
    case State::kField: {
      const size_t end = buffer_.find(delimiter_);
      if (end == std::string::npos) {
        if (buffer_.size() + field_bytes_ > kMaxFieldBytes) {
          Fail("MaxPostPreDataLengthExceededError");
        }
        return false;
      }
      if (state_ == State::kField) {
        field_bytes_ += end;
        if (field_bytes_ > kMaxFieldBytes) {
          Fail("MaxPostPreDataLengthExceededError");
          return false;
        }
        events_.on_field(name_, buffer_.substr(0, end));
      }
      buffer_.erase(0, end + delimiter_.size());
      state_ = State::kAfterBoundary;
      return true;
    }
    case State::kAfterBoundary:
      if (buffer_.size() < 2) {
        return false;
      }
      if (buffer_.compare(0, 2, "--") == 0) {
        state_ = State::kDone;
        return false;
      }
      if (buffer_.compare(0, 2, "\r\n") != 0) {
        Fail("MalformedPOSTRequest");
        return false;
      }
      state_ = State::kHeaders;  // which begin with this line end, so that none at all is valid too
      return true;
    case State::kHeaders:
      return ReadHeaders();
    case State::kFile: {
      const size_t end = buffer_.find(delimiter_);
      if (end != std::string::npos) {
        events_.on_bytes(AsBytes(std::string_view(buffer_).substr(0, end)));
        state_ = State::kDone;
        buffer_.clear();
        return false;
      }
      if (buffer_.size() >= delimiter_.size()) {
        const size_t safe = buffer_.size() - delimiter_.size() + 1;
        events_.on_bytes(AsBytes(std::string_view(buffer_).substr(0, safe)));
        buffer_.erase(0, safe);
      }
      return false;
    }
    case State::kDone:
      break;
  }
  return false;
}

bool FormParser::ReadHeaders() {
  const size_t end = buffer_.find("\r\n\r\n");
  if (end == std::string::npos || end > kMaxHeaderBytes) {
    if (buffer_.size() > kMaxHeaderBytes) {
      Fail("MalformedPOSTRequest");
    }
    return false;
  }
  std::string disposition;
  std::string content_type;
  size_t begin = 2;
  while (begin < end) {
    const size_t line_end = std::min(buffer_.find("\r\n", begin), end);
    const std::string line = buffer_.substr(begin, line_end - begin);
    begin = line_end + 2;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) {
      Fail("MalformedPOSTRequest");
      return false;
    }
    const std::string_view value = TrimSpaces(std::string_view(line).substr(colon + 1));
    if (EqualsIgnoringCase(line.substr(0, colon), "content-disposition")) {
      disposition = value;
    } else if (EqualsIgnoringCase(line.substr(0, colon), "content-type")) {
      content_type = value;
    }
  }
  field_bytes_ += end + 4;
  buffer_.erase(0, end + 4);
  const std::optional<std::string> name = Parameter(disposition, "name");
  if (!name || name->empty()) {
    Fail("MalformedPOSTRequest");
    return false;
  }
  name_ = ToLower(*name);
  if (name_ == "file") {
    had_file_ = true;
    state_ = State::kFile;
    events_.on_file(Parameter(disposition, "filename").value_or(""), content_type);
  } else {
    state_ = State::kField;
  }
  return true;
}

std::optional<S3Error> FormParser::Finish() {
  if (!error_ && state_ != State::kDone) {
    Fail("MalformedPOSTRequest");
  }
  if (!error_ && !had_file_) {
    error_ = MakeError("InvalidArgument", "POST requires exactly one file upload per request.");
  }
  return error_;
}

}  // namespace sqlite_s3::server
