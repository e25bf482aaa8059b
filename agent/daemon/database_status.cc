#include "agent/daemon/database_status.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "common/base/time.h"

namespace sqlite_s3 {

const char* DatabaseStateName(const DatabaseStatus& status) {
  if (status.has_engine) {
    return EngineStateName(status.engine.state);
  }
  return status.paused   ? "paused"
         : status.fenced ? EngineStateName(EngineState::kFenced)
                         : "waiting";
}

std::string FormatDatabaseStatusJson(const DatabaseStatus& status, const Prices& prices) {
  auto json = nlohmann::ordered_json::parse(FormatStatusJson(status.engine));
  json["state"] = DatabaseStateName(status);
  json["waiting_for"] = status.waiting_for;
  json["alarm"] = status.alarm;
  json["wal_file_bytes"] = status.wal_file_bytes;
  json["requests_this_hour"] = status.requests_this_hour;
  json["bytes_this_hour"] = status.bytes_this_hour;
  const StoreTraffic& traffic = status.traffic;
  for (size_t i = 0; i < kStoreOperations; ++i) {
    json["requests_by_operation"][StoreOperationName(static_cast<StoreOperation>(i))] =
        traffic.requests[i];
  }
  json["errors"] = nlohmann::ordered_json::object();
  for (size_t i = 0; i < kStatusCodes; ++i) {
    if (traffic.errors[i] > 0) {
      json["errors"][StatusCodeName(static_cast<StatusCode>(i))] = traffic.errors[i];
    }
  }
  json["last_success"] = traffic.last_success_us == 0 ? "" : FormatTimeUtc(traffic.last_success_us);
  json["cost_per_month"] =
      std::round(EstimateMonthlyCost(traffic, status.observed_us, prices) * 1e4) / 1e4;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sqlite_s3
