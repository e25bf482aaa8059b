#pragma once
// What the control socket can be asked for: one function from a request to its answer.

#include <nlohmann/json.hpp>

#include "agent/daemon/agent.h"

namespace sqlite_s3 {

// Carries out one request: {"command": "status", ...}. Any thread; blocks for as long as what is
// asked for takes. {"ok": ...} or {"error": {"code", "exit_code", "message"}}.
nlohmann::ordered_json Answer(Agent& agent, const nlohmann::json& request);

}  // namespace sqlite_s3
