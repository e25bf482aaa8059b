#include "tests/agent/ship/capture_fixture.h"

#include <sqlite3.h>

#include <optional>
#include <string_view>
#include <utility>

namespace sqlite_s3 {
namespace {

std::string awaited_statement;
std::function<void()> when_it_ends;

int WatchStatements(sqlite3* db, char**, const sqlite3_api_routines*) {
  return sqlite3_trace_v2(
      db, SQLITE_TRACE_PROFILE,
      [](unsigned, void*, void* statement, void*) {
        const char* sql = sqlite3_sql(static_cast<sqlite3_stmt*>(statement));
        if (sql != nullptr && when_it_ends && std::string_view(sql) == awaited_statement) {
          std::exchange(when_it_ends, nullptr)();
        }
        return 0;
      },
      nullptr);
}

}  // namespace

Result<std::unique_ptr<WalCapture>> OpenWatched(const WalCapture::Config& config) {
  auto watch = reinterpret_cast<void (*)()>(WatchStatements);
  (void)sqlite3_auto_extension(watch);
  auto capture = WalCapture::Open(config, std::nullopt);
  sqlite3_cancel_auto_extension(watch);
  return capture;
}

void WhenStatementEnds(std::string sql, std::function<void()> run) {
  awaited_statement = std::move(sql);
  when_it_ends = std::move(run);
}

bool StatementIsAwaited() { return when_it_ends != nullptr; }

}  // namespace sqlite_s3
