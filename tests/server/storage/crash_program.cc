// crash_program: runs a script of CrashSteps, for tests that kill it or fail its system calls.
//
//   crash_program DIRECTORY SCRIPT normal|full [POWER_LOSS_AT [SEED]]
//
// Says "ok" for each step that happened. When one fails it says "failed REASON", "changed" if
// anything that a client can see is another than before, and tries that step once more. Ends with 0
// when all steps happened, with 3 otherwise. The last two: tests/server/storage/power_loss.h.

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/server/storage/crash_steps.h"
#include "tests/server/storage/power_loss.h"

namespace sqlite_s3::server {
namespace {

void Say(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(STDOUT_FILENO, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    ::_exit(4);
  }
}

int Main(const std::string& directory, const std::string& script, Synchronous synchronous) {
  auto steps = CrashSteps::Open(script, directory, synchronous);
  if (!steps.ok()) {
    Say("cannot open: " + steps.status().ToString());
    return 2;
  }
  const bool failing = std::getenv("FAIL_AT") != nullptr;
  bool all = true;
  for (int i = 0; i < (*steps)->count(); ++i) {
    // Of a file of s3ite's, looking at it is step 0.
    const bool look = failing && (i > 0 || !script.starts_with("s3ite"));
    const std::string before = look ? (*steps)->Dump() : "";
    StorageStatus status = (*steps)->Run(i);
    if (!status.ok()) {
      Say(std::string("failed ") + ReasonName(status.reason()));
      if (look && (*steps)->Dump() != before) {
        Say("changed");
      }
      status = (*steps)->Run(i);
    }
    if (status.ok()) {
      Say("ok");
    } else {
      all = false;
    }
    (void)(*steps)->Maintain();  // what fails is tried again in the next round
  }
  return all ? 0 : 3;
}

}  // namespace
}  // namespace sqlite_s3::server

int main(int argc, char** argv) {
  if (argc < 4) {
    return 2;
  }
  if (argc > 4) {
    sqlite_s3::server::LosePowerAt(std::atol(argv[4]), argc > 5 ? std::atoi(argv[5]) : 0);
  }
  return sqlite_s3::server::Main(argv[1], argv[2],
                                 std::string(argv[3]) == "full"
                                     ? sqlite_s3::server::Synchronous::kFull
                                     : sqlite_s3::server::Synchronous::kNormal);
}
