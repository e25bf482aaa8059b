// sqlite-s3-agent: the command line. Everything else is in the subcommands' files.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

#include "agent/daemon/failure.h"
#include "agent/daemon/run_command.h"
#include "common/base/exit_codes.h"
#include "common/sqlite/connection.h"
#include "common/store/libs3_store.h"

namespace sqlite_s3 {
namespace {

std::string VersionText() {
  return std::string("sqlite-s3-agent " SQLITE_S3_VERSION_TEXT ", SQLite ") + sqlite3_libversion() +
         (HasWalResetBug(sqlite3_libversion_number())
              ? " (has the WAL-reset bug; our own checkpoints keep out of its reach)"
              : "");
}

int Run(int argc, char** argv) {
  CLI::App app("Ships SQLite databases of other programs to object storage, commit by commit.",
               "sqlite-s3-agent");
  app.set_version_flag("--version", VersionText());
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 not found, 4 refused, 5 corruption, 7 store unavailable or "
      "out of time, 8 permission, 9 disk full, 70 internal; with -- COMMAND that command's own.");

  RunCommand run;
  CLI::App* run_app = app.add_subcommand("run", "ships one database until it is told to stop");
  run_app->add_option("database", run.database, "the database's file")->required();
  run_app->add_option("replica", run.replica, "its replica: s3://bucket/prefix, file:///directory")
      ->required();
  run_app->add_option("-o,--options", run.options,
                      "key=value options, as in a replica URL's query");
  run_app->add_flag("--once", run.once, "ship what is there and exit");
  run_app->add_option("--log-format", run.log_format, "text or json");
  run_app->add_option("--log-level", run.log_level, "debug, info, warning or error");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cout, std::cerr);
    return code == 0 ? 0 : kExitUsage;
  }
  return RunAgent(run);
}

}  // namespace
}  // namespace sqlite_s3

int main(int argc, char** argv) {
  try {
    sqlite_s3::RegisterLibs3(&sqlite_s3::OpenLibs3Store);
    return sqlite_s3::Run(argc, argv);
  } catch (const std::exception& error) {  // std::bad_alloc and our bugs
    return sqlite_s3::Fail(
        sqlite_s3::InternalError(std::string("internal error: ") + error.what()));
  }
}
