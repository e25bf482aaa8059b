#include "agent/hook/log.h"

#include <mutex>

#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {
namespace {

struct Sink {
  std::mutex mutex;
  LogFunction function = nullptr;
  void* context = nullptr;
};

// Never destroyed: engines of a process that exits may still log.
Sink& TheSink() {
  static Sink* sink = new Sink;
  return *sink;
}

}  // namespace

void SetLog(LogFunction function, void* context) {
  std::lock_guard lock(TheSink().mutex);
  TheSink().function = function;
  TheSink().context = context;
}

void Log(LogLevel level, const std::string& message) noexcept try {
  Sink& sink = TheSink();
  std::lock_guard lock(sink.mutex);
  if (sink.function != nullptr) {
    sink.function(sink.context, static_cast<int>(level), message.c_str());
  } else if (level >= LogLevel::kWarning) {
    sqlite3_log(SQLITE_WARNING, "sqlite-s3: %s", message.c_str());
  }
} catch (...) {
  // A log line is not worth an application.
}

void LockLogForFork() { TheSink().mutex.lock(); }
void UnlockLogAfterFork() { TheSink().mutex.unlock(); }

}  // namespace sqlite_s3
