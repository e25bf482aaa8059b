#include "agent/daemon/check_config.h"

#include <cstdio>

#include "agent/daemon/config_file.h"
#include "agent/daemon/directory_scan.h"
#include "agent/daemon/failure.h"

namespace sqlite_s3 {

int RunCheckConfig(const std::string& path) {
  const auto config = LoadAgentConfig(path);
  if (!config.ok()) {
    return Fail(config.status());
  }
  if (const Status valid = CheckSettings(config->settings); !valid.ok()) {
    return Fail(valid.WithContext(path));
  }
  auto print = [](const DatabaseSpec& spec) {
    std::puts((spec.path + " -> " + spec.replica_url).c_str());
    std::puts(FormatShipOptions(spec.replica.ship).c_str());
  };
  for (const DatabaseSpec& spec : config->databases) {
    print(spec);
  }
  for (const DirectorySpec& directory : config->directories) {
    std::puts(("directory " + directory.path + " -> " + directory.replica).c_str());
    for (const auto& spec : DatabasesNow(directory)) {
      if (!spec.ok()) {
        return Fail(spec.status());
      }
      print(*spec);
    }
  }
  return 0;
}

}  // namespace sqlite_s3
