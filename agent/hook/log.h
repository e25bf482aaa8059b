#pragma once
// Where the log lines of all engines of this process go. Nothing is ever printed.

#include <string>

#include "agent/ship/engine.h"

namespace sqlite_s3 {

// As sqlite_s3_set_log documents.
using LogFunction = void (*)(void* context, int level, const char* message);

// After the return no call of the former function is running. Null: warnings and errors go to
// SQLite's error log (SQLITE_CONFIG_LOG), which drops them unless the application asked for it.
void SetLog(LogFunction function, void* context);

// From any thread. Throws nothing.
void Log(LogLevel level, const std::string& message) noexcept;

// Around fork(2): nobody is inside a log function while the process is copied.
void LockLogForFork();
void UnlockLogAfterFork();

}  // namespace sqlite_s3
