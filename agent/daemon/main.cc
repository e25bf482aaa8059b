// sqlite-s3-agent: the command line. Everything else is in the subcommands' files.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string_view>
#include <utility>

#include "agent/daemon/check_config.h"
#include "agent/daemon/control_command.h"
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
  CLI::Option* database = run_app->add_option("database", run.database, "the database's file");
  CLI::Option* replica = run_app->add_option("replica", run.replica,
                                             "its replica: s3://bucket/prefix, file:///directory");
  run_app->add_option("--config", run.config, "a TOML file that names the databases")
      ->excludes(database)
      ->excludes(replica);
  run_app->add_option("-o,--options", run.options,
                      "key=value options, as in a replica URL's query");
  run_app->add_flag("--once", run.once, "ship what is there and exit");
  run_app->add_option("--log-format", run.settings.log_format, "text or json");
  run_app->add_option("--log-level", run.settings.log_level, "debug, info, warning or error");
  run_app->add_option("--control", run.settings.control,
                      "listen on this Unix socket for status, sync, ...");
  run_app->add_option("--heartbeat-url", run.settings.heartbeat_url,
                      "ask this URL at intervals while all is well");
  run_app->add_option("--metrics", run.settings.metrics,
                      "ADDRESS:PORT that answers /metrics and /healthz, such as 127.0.0.1:9464");
  run_app->add_option("--heartbeat-interval", run.settings.heartbeat_interval, "default: 1m");
  run_app->add_flag("--restore-if-missing", run.restore_if_missing,
                    "restore the database first if there is none");
  run_app->footer(
      "With -- COMMAND [ARGUMENT...] the application is started, shipped while it runs, "
      "and flushed after it ends. SIGHUP reads FILE again. What neither the command line nor FILE "
      "says is taken from SQLITE_S3_AGENT_CONFIG, _CONTROL, _LOG_FORMAT, _LOG_LEVEL, "
      "_HEARTBEAT_URL, _HEARTBEAT_INTERVAL, and options from SQLITE_S3_ and their name in "
      "capitals.");

  std::string checked;
  CLI::App* check_app = app.add_subcommand("check-config", "says what a configuration file means");
  check_app->add_option("file", checked, "the TOML file")->required();

  ControlCommand control;
  auto add_control = [&](const char* name, const char* help) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->add_option("--control", control.control, "the agent's control socket")
        ->envname("SQLITE_S3_AGENT_CONTROL");
    sub->add_flag("--json", control.json, "one JSON object on standard output");
    sub->callback([&control, name] { control.command = name; });
    return sub;
  };
  const std::string only = "the database (default: the only one)";
  CLI::App* status = add_control("status", "what the agent ships, and how far it is");
  status->add_option("database", control.database, "only this database");
  status->add_flag("--check", control.check, "exit code 7 when an alarm is on, or one has stopped");
  for (const auto& [name, help] :
       {std::pair("sync", "waits until every commit made so far is in the store"),
        std::pair("image", "ships a full image of the database")}) {
    CLI::App* sub = add_control(name, help);
    CLI::Option* named = sub->add_option("database", control.database, only);
    CLI::Option* timeout =
        sub->add_option("--timeout", control.timeout_s, "seconds")->check(CLI::Range(0, 86'400));
    if (std::string_view(name) == "sync") {
      sub->add_flag("--all", control.all, "every database")->excludes(named);
      sub->add_flag("--no-wait", control.no_wait, "ask for it, do not wait")->excludes(timeout);
    }
  }
  CLI::App* verify =
      add_control("verify", "whether the replica leads to the database as it is now");
  verify->add_option("database", control.database, only);
  verify->add_option("replica", control.replica, "compare with this replica, without an agent");
  verify->add_option("-o,--options", control.options, "key=value options of the replica");
  verify->add_option("--timeout", control.timeout_s, "seconds")->check(CLI::Range(0, 86'400));
  CLI::App* mark = add_control("mark", "names the last commit");
  mark->add_option("database", control.database, "the database")->required();
  mark->add_option("name", control.name, "the mark's name")->required();
  CLI::App* add = add_control("add", "ships another database until the agent ends");
  add->add_option("database", control.database, "the database's file")->required();
  add->add_option("replica", control.replica, "its replica")->required();
  add->add_option("-o,--options", control.options, "key=value options");
  add_control("remove", "flushes a database and ships it no more")
      ->add_option("database", control.database, "the database")
      ->required();
  add_control("reload", "reads the configuration file again");
  add_control("pause", "flushes a database and closes it")
      ->add_option("database", control.database, only);
  add_control("resume", "goes on after pause")->add_option("database", control.database, only);

  // What comes after -- is the application's own.
  char** const dashes = std::find(argv, argv + argc, std::string_view("--"));
  const int ours = static_cast<int>(dashes - argv);
  if (ours < argc) {
    run.command.assign(dashes + 1, argv + argc);
  }
  try {
    app.parse(ours, argv);
    const char* config = getenv("SQLITE_S3_AGENT_CONFIG");
    if (run.config.empty() && run.database.empty() && config != nullptr) {
      run.config = config;
    }
    if (*run_app && run.config.empty() && run.replica.empty()) {
      throw CLI::RequiredError("DATABASE and REPLICA, or --config FILE,");
    }
    if (run.restore_if_missing && !run.config.empty()) {
      throw CLI::ValidationError("--restore-if-missing", "is for a database on the command line");
    }
    if (ours < argc && (run.command.empty() || !*run_app || run.once)) {
      throw CLI::ValidationError("--", "a command follows it, and it is for run without --once");
    }
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cout, std::cerr);
    return code == 0 ? 0 : kExitUsage;
  }
  if (*check_app) {
    return RunCheckConfig(checked);
  }
  if (!control.command.empty()) {
    return RunControl(control);
  }
  // Its sister program, as built or installed together.
  std::error_code ignored;
  run.restore_program =
      (std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / "sqlite-s3-restore")
          .string();
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
