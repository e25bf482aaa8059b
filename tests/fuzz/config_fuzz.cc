// Any text where somebody tells us what to do: a replica URL, options, a restore point, the agent's
// configuration file. What is understood can be written and is then understood as the same.
#include <cstdlib>
#include <string>

#include "agent/daemon/config_file.h"
#include "common/config/options.h"
#include "common/config/units.h"
#include "common/config/url.h"
#include "common/replica/restore_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  const std::string text(AsText({data, size}));
  (void)ParseReplicaUrl(text);
  (void)ParseReplicaConfig(text);
  (void)ParseReplicaConfig("file:///replica", text);
  (void)ParseRestoreTarget(text, 1'767'323'045'000'000);
  (void)ParseAgentConfig(text, "fuzz");
  if (auto duration = ParseDuration(text); duration.ok()) {
    auto again = ParseDuration(FormatDuration(*duration));
    if (!again.ok() || *again != *duration) {
      std::abort();
    }
  }
  if (auto bytes = ParseByteSize(text); bytes.ok()) {
    auto again = ParseByteSize(FormatByteSize(*bytes));
    if (!again.ok() || *again != *bytes) {
      std::abort();
    }
  }
  return 0;
}
