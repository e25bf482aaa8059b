#include <nlohmann/json.hpp>

#include "agent/ship/engine.h"

namespace sqlite_s3 {

const char* EngineStateName(EngineState state) {
  switch (state) {
    case EngineState::kStarting:
      return "starting";
    case EngineState::kShipping:
      return "shipping";
    case EngineState::kStoreAway:
      return "store-away";
    case EngineState::kStandby:
      return "standby";
    case EngineState::kFenced:
      return "fenced";
    case EngineState::kFailed:
      return "failed";
    case EngineState::kStopped:
      return "stopped";
  }
  return "unknown";
}

std::string FormatStatusJson(const EngineStatus& s) {
  nlohmann::ordered_json json = {
      {"state", EngineStateName(s.state)},
      {"database", s.database},
      {"replica", s.replica},
      {"timeline", s.timeline},
      {"txid", FormatTxid(s.txid)},
      {"txid_current", s.txid_current},
      {"shipped_txid", FormatTxid(s.shipped_txid)},
      {"lag_ms", s.lag_ms},
      {"lag_commits", s.lag_commits},
      {"bytes", s.bytes_shipped},
      {"wal_bytes", s.bytes_captured},
      {"wal_frames", s.wal_frames},
      {"spool_bytes", s.spool_bytes},
      {"segments", s.segments},
      {"images", s.images},
      {"image_txid", FormatTxid(s.image_txid)},
      {"image_running", s.image_running},
      {"requests", s.requests},
      {"interval_ms", s.interval_ms},
      {"request_budget", s.request_budget},
      {"requests_this_month", s.requests_this_month},
      {"merged_commits", s.merged_commits},
      {"resyncs", s.resyncs},
      {"salvaged_commits", s.salvaged_commits},
      {"checkpoints", s.checkpoints},
      {"wal_resets", s.wal_resets},
      {"write_locks", s.write_locks},
      {"write_lock_max_us", s.write_lock_max_us},
      {"commit_timeouts", s.commit_timeouts},
      {"hook_displaced", s.hook_displaced},
      {"trace_displaced", s.trace_displaced},
      {"dropped_statements", s.dropped_statements},
      {"sqlite_version", s.sqlite_version},
      {"sqlite_wal_reset_bug", s.sqlite_wal_reset_bug},
      {"last_error", s.last_error},
      {"away_of", s.away_of},
      {"checkpoint_error", s.checkpoint_error},
  };
  // Paths need not be UTF-8; a status that cannot be printed helps nobody.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sqlite_s3
