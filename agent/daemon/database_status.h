#pragma once
// DatabaseStatus: what `status` and the metrics say of one database.

#include <cstdint>
#include <string>

#include "agent/daemon/cost.h"
#include "agent/daemon/metered_store.h"
#include "agent/ship/engine.h"

namespace sqlite_s3 {

struct DatabaseStatus {
  EngineStatus engine;  // of a database without an engine: names and zeroes
  bool has_engine = false;
  bool paused = false;
  bool fenced = false;      // by an earlier run: there is no engine
  bool alarm = false;       // it has changes, but its position does not move
  std::string waiting_for;  // why there is no engine; empty: there is one, or it is being started
  uint64_t wal_file_bytes = 0;
  uint64_t requests_this_hour = 0;  // since the clock's hour began, or the agent
  uint64_t bytes_this_hour = 0;     // sent
  StoreTraffic traffic;             // since the agent began with this database
  int64_t observed_us = 0;          // so long ago
};
// s3_status()'s record with the fields above and the cost added; state is "waiting", "paused" or
// "fenced" without an engine.
std::string FormatDatabaseStatusJson(const DatabaseStatus& status, const Prices& prices);
// "shipping", ..., "waiting", "paused".
const char* DatabaseStateName(const DatabaseStatus& status);

}  // namespace sqlite_s3
