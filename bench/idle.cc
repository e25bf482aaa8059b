// idle: a database at rest asks the store nothing and uses no CPU.

#include <thread>

#include "bench/slow_store.h"
#include "bench/support.h"

namespace sqlite_s3::bench {
namespace {

void Run(const Arguments& arguments) {
  Scratch scratch;
  App app(scratch.File("app.db"));
  Inserter inserter(app.db());
  for (int i = 0; i < 1000; ++i) {
    inserter.Commit();
  }
  auto store = std::make_shared<SlowStore>(DirectoryStoreAt(scratch.File("replica")),
                                           std::chrono::microseconds(0));
  app.Ship(store);
  for (int i = 0; i < 1000; ++i) {
    inserter.Commit();
  }
  app.Sync();
  // What follows the last commit (naps, a segment's interval) is not rest yet.
  std::this_thread::sleep_for(std::chrono::milliseconds(arguments.quick ? 1200 : 3000));

  const uint64_t requests = store->requests();
  const double cpu = ProcessSeconds();
  const double begin = Now();
  const double seconds = arguments.Duration(1, 10, 60);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const double used = ProcessSeconds() - cpu;
  const double elapsed = Now() - begin;

  Figure asked{.name = "idle.requests", .unit = "store requests"};
  asked.ours = static_cast<double>(store->requests() - requests);
  asked.goal = Goal::kOursAtMost;
  asked.target = 0;
  Print(asked);
  Figure busy{.name = "idle.cpu", .unit = "% of one core"};
  busy.ours = 100 * used / elapsed;
  busy.goal = Goal::kOursAtMost;
  busy.target = 0.1;
  Print(busy);
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  Run(ParseArguments(argc, argv));
  return 0;
}
