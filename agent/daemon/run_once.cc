#include "agent/daemon/run_once.h"

#include <chrono>
#include <memory>

#include "agent/daemon/database_task.h"
#include "agent/daemon/directory_scan.h"
#include "agent/daemon/failure.h"

namespace sqlite_s3 {
namespace {

constexpr auto kOncePatience = std::chrono::minutes(30);

int RunOnce(const DatabaseSpec& spec, const std::shared_ptr<RateLimiter>& limits, Logger& log) {
  FileClaims claims;
  DatabaseTask task(spec, claims, log, nullptr, limits);
  (void)task.Attend(false);
  const std::shared_ptr<Engine> engine = task.engine();
  if (!engine) {
    return Fail(task.waiting());
  }
  Txid txid;
  Status shipped = engine->Sync(kOncePatience, &txid);
  const Status stopped = task.Stop(spec.replica.ship.close_timeout);
  if (shipped.ok()) {
    shipped = stopped;
  }
  if (!shipped.ok()) {
    return Fail(shipped);
  }
  log.Write(LogLevel::kInfo, spec.path, "shipped up to TXID " + FormatTxid(txid), {.txid = txid});
  return 0;
}

}  // namespace

int RunAllOnce(const AgentConfig& config, const RateLimits& limits, Logger& log) {
  int code = 0;
  const auto limiter = std::make_shared<RateLimiter>(limits);
  auto run = [&](const Result<DatabaseSpec>& spec) {
    const int one = spec.ok() ? RunOnce(*spec, limiter, log) : Fail(spec.status());
    code = code == 0 ? one : code;
  };
  for (const DatabaseSpec& spec : config.databases) {
    run(spec);
  }
  for (const DirectorySpec& directory : config.directories) {
    for (const auto& spec : DatabasesNow(directory)) {
      run(spec);
    }
  }
  return code;
}

}  // namespace sqlite_s3
