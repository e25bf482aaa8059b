#pragma once
// From what was asked for to a running engine. The seam where tests put a fake one.

#include <functional>
#include <memory>

#include "agent/hook/host.h"
#include "agent/ship/engine.h"
#include "common/config/options.h"

namespace sqlite_s3 {

// What an application asked for: which database, where to, and how.
struct ShipRequest {
  HostDatabase database;
  ReplicaConfig config;
};

// Opens the replica's store (a directory is made if absent) and starts the engine, with our log.
// `checkpoint_pages` is the connections' own threshold; the option, if given, wins. Errors:
// Engine::Start's and OpenStore's.
Result<std::shared_ptr<Engine>> StartEngine(const ShipRequest& request, uint32_t checkpoint_pages);

// Takes the place of Engine::Start in StartEngine until set to null. For tests; not thread-safe.
using EngineFactory = std::function<Result<std::shared_ptr<Engine>>(const EngineConfig&)>;
void SetEngineFactoryForTesting(EngineFactory factory);

// kInvalidArgument, naming the first difference, unless both ask for the same thing; attach= is not
// compared, for it is about connections.
Status CheckSameRequest(const ShipRequest& running, const ShipRequest& asked);

}  // namespace sqlite_s3
