#pragma once
// The agent's log: one line per message on standard error, as text (with journald's level prefixes
// when standard error is the journal) or as JSON. Thread-safe; a message is one write(2).

#include <mutex>
#include <string>
#include <string_view>

#include "agent/ship/engine.h"

namespace sqlite_s3 {

enum class LogFormat { kText, kJournal, kJson };

// "debug", "info", "warning", "error".
Result<LogLevel> ParseLogLevel(std::string_view text);
const char* LogLevelName(LogLevel level);

// What a line is about, beside its database, for programs that read logs: JSON has them as fields.
struct LogFields {
  Txid txid = {};                     // 0: none
  StatusCode code = StatusCode::kOk;  // of the failure; kOk: it is none
};

// Whether standard error is the journal itself: then it wants priorities, and has the time.
bool StandardErrorIsJournal();

class Logger {
 public:
  explicit Logger(int fd = 2) : fd_(fd) {}
  void Configure(LogFormat format, LogLevel least);
  // `database` may be empty. Never fails; a log that cannot be written is lost.
  void Write(LogLevel level, std::string_view database, std::string_view message,
             const LogFields& fields = {});

 private:
  const int fd_;
  std::mutex mutex_;
  LogFormat format_ = LogFormat::kText;
  LogLevel least_ = LogLevel::kInfo;
};

// The line without its end.
std::string FormatLogLine(LogFormat format, int64_t time_us, LogLevel level,
                          std::string_view database, std::string_view message,
                          const LogFields& fields = {});

}  // namespace sqlite_s3
