#include "agent/daemon/log.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/base/time.h"

namespace sqlite_s3 {

Result<LogLevel> ParseLogLevel(std::string_view text) {
  for (LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (text == LogLevelName(level)) {
      return level;
    }
  }
  return InvalidArgumentError(fmt::format("'{}' is not one of debug, info, warning, error", text));
}

const char* LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

std::string FormatLogLine(LogFormat format, int64_t time_us, LogLevel level,
                          std::string_view database, std::string_view message,
                          const LogFields& fields) {
  if (format == LogFormat::kJson) {
    nlohmann::ordered_json json = {{"time", FormatTimeUtc(time_us)},
                                   {"level", LogLevelName(level)}};
    if (!database.empty()) {
      json["database"] = database;
    }
    if (fields.txid) {
      json["txid"] = FormatTxid(fields.txid);
    }
    if (fields.code != StatusCode::kOk) {
      json["code"] = StatusCodeName(fields.code);
    }
    json["message"] = message;
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  constexpr const char* kPriorities[] = {"<7>", "<6>", "<4>", "<3>"};  // sd-daemon(3)
  // The journal has the time.
  std::string text = format == LogFormat::kJournal
                         ? kPriorities[static_cast<int>(level)]
                         : fmt::format("{} {} ", FormatTimeUtc(time_us), LogLevelName(level));
  text += fmt::format("{}{}{}", database, database.empty() ? "" : ": ", message);
  // One message is one line, whatever a path or an answer of a store has in it.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c >= 0 && c < 0x20; }, ' ');
  return text;
}

void Logger::Configure(LogFormat format, LogLevel least) {
  std::lock_guard lock(mutex_);
  format_ = format;
  least_ = least;
}

// systemd.exec(5), $JOURNAL_STREAM: device and inode, to tell a redirected standard error.
bool StandardErrorIsJournal() {
  const char* stream = getenv("JOURNAL_STREAM");
  struct stat st {};
  return stream != nullptr && fstat(STDERR_FILENO, &st) == 0 &&
         fmt::format("{}:{}", st.st_dev, st.st_ino) == stream;
}

void Logger::Write(LogLevel level, std::string_view database, std::string_view message,
                   const LogFields& fields) {
  std::lock_guard lock(mutex_);
  if (level < least_) {
    return;
  }
  const std::string line =
      FormatLogLine(format_, Clock::Real().WallMicros(), level, database, message, fields) + "\n";
  (void)!write(fd_, line.data(), line.size());  // nobody is left to tell
}

}  // namespace sqlite_s3
