#include "agent/hook/start_engine.h"

#include <string>
#include <string_view>
#include <utility>

#include "agent/hook/log.h"
#include "common/replica/store_address.h"
#include "common/store/open_store.h"

namespace sqlite_s3 {
namespace {

EngineFactory& FactoryForTesting() {
  static EngineFactory* factory = new EngineFactory;
  return *factory;
}

std::string DescribeLocation(const ReplicaLocation& location) {
  if (location.scheme == "file") {
    return "file://" + location.path;
  }
  if (location.scheme == "s3") {
    return "s3://" + location.bucket + (location.prefix.empty() ? "" : "/" + location.prefix);
  }
  return location.scheme + ":" + location.name;
}

std::string_view TakeLine(std::string_view& text) {
  size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// "durability=async, not durability=commit" for the first option that differs.
std::string FirstDifference(const ShipOptions& running, const ShipOptions& asked) {
  const std::string running_text = FormatShipOptions(running);
  const std::string asked_text = FormatShipOptions(asked);
  std::string_view a = running_text;
  std::string_view b = asked_text;
  while (!a.empty() && !b.empty()) {
    std::string_view x = TakeLine(a);
    std::string_view y = TakeLine(b);
    if (x != y) {
      return std::string(x) + ", not " + std::string(y);
    }
  }
  return "other options";
}

}  // namespace

Result<std::shared_ptr<Engine>> StartEngine(const ShipRequest& request, uint32_t checkpoint_pages) {
  if (request.config.ship.alarm_after != ShipOptions().alarm_after) {
    return InvalidArgumentError(
        "option 'alarm_after' is for the agent, hint: the application looks at s3_status()");
  }
  EngineConfig config;
  ASSIGN_OR_RETURN(config.store, OpenStore(AddressOf(request.config.location, StoreUse::kShip)));
  config.database_path = request.database.path;
  config.vfs = request.database.vfs;
  config.options = request.config.ship;
  config.checkpoint_pages =
      config.options.checkpoint_pages != 0 ? config.options.checkpoint_pages : checkpoint_pages;
  config.log = Log;
  return FactoryForTesting() ? FactoryForTesting()(config) : Engine::Start(config);
}

void SetEngineFactoryForTesting(EngineFactory factory) { FactoryForTesting() = std::move(factory); }

Status CheckSameRequest(const ShipRequest& running, const ShipRequest& asked) {
  const std::string database = "database '" + running.database.path + "' is shipped already ";
  const std::string hint = ", hint: s3_stop() or sqlite_s3_close() first";
  if (running.config.location != asked.config.location) {
    return InvalidArgumentError(database + "to another replica, " +
                                DescribeLocation(running.config.location) + hint);
  }
  if (running.database.vfs != asked.database.vfs) {
    return InvalidArgumentError(database + "through VFS '" + running.database.vfs + "', not '" +
                                asked.database.vfs + "': their locks may not see each other");
  }
  ShipOptions a = running.config.ship;
  ShipOptions b = asked.config.ship;
  a.attach_all = b.attach_all = false;
  if (a != b) {
    return InvalidArgumentError(database + "with " + FirstDifference(a, b) + hint);
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
