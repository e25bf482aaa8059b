#include "common/base/toml_text.h"

#include <algorithm>

namespace sqlite_s3 {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<size_t> Run() {
    if (text_.starts_with(kByteOrderMark)) {
      at_ = kByteOrderMark.size();
    }
    while (at_ < text_.size() && !misplaced_) {
      const char c = text_[at_];
      if (c == '"' || c == '\'') {
        String(c);
      } else if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        Expect();
      }
    }
    return misplaced_ ? std::optional<size_t>(line_) : std::nullopt;
  }

 private:
  // Over one character of its line.
  void Step() { line_ += text_[at_++] == '\n' ? 1U : 0U; }
  // Over one that must be ASCII.
  void Expect() {
    misplaced_ = !IsAscii(text_[at_]);
    if (!misplaced_) {
      Step();
    }
  }

  void String(char quote) {
    const std::string_view three = quote == '"' ? R"(""")" : "'''";
    const bool lines = text_.substr(at_).starts_with(three);
    at_ += lines ? 3 : 1;
    while (at_ < text_.size() && !misplaced_) {
      const char c = text_[at_];
      if (c == '\\' && quote == '"') {
        Step();
        Escaped(lines);
      } else if (c == quote && (!lines || text_.substr(at_).starts_with(three))) {
        at_ += lines ? 3 : 1;
        // Up to two quotes before the closing ones belong to the string.
        for (int more = 0; lines && more < 2 && at_ < text_.size() && text_[at_] == quote; ++more) {
          ++at_;
        }
        return;
      } else if (c == '\n' && !lines) {
        return;  // not closed: the parser says so
      } else {
        Step();
      }
    }
  }

  // After a '\': what it escapes, or the white space that it takes away.
  void Escaped(bool lines) {
    if (at_ == text_.size() || (!lines && text_[at_] == '\n')) {
      return;
    }
    const bool trims = lines && IsSpace(text_[at_]);
    Expect();
    while (trims && at_ < text_.size() && IsSpace(text_[at_])) {
      Step();
    }
    if (trims && at_ < text_.size()) {
      misplaced_ = misplaced_ || !IsAscii(text_[at_]);
    }
  }

  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  const std::string_view text_;
  size_t at_ = 0;
  size_t line_ = 1;
  bool misplaced_ = false;
};

}  // namespace

std::optional<size_t> LineOfMisplacedCharacter(std::string_view toml) {
  return Scanner(toml).Run();
}

}  // namespace sqlite_s3
