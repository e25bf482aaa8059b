#pragma once
// What Prometheus reads: docs/OPERATIONS.md lists every metric, and a test holds it to that.

#include <memory>
#include <string>
#include <vector>

#include "agent/daemon/agent.h"
#include "agent/daemon/metrics_listener.h"

namespace sqlite_s3 {

// Prometheus' text format, 0.0.4: a set of series for each database, its path the label, and what
// the process itself uses. Any thread; reads /proc/self.
std::string FormatMetrics(const std::vector<DatabaseStatus>& databases, const Prices& prices);

// /metrics and /healthz of the agent's databases; see metrics_listener.h for the errors.
Result<std::unique_ptr<MetricsListener>> ServeMetrics(const std::string& address, Agent& agent);

}  // namespace sqlite_s3
