// sqlite-s3-restore: the command line. Everything else is in the subcommands' files.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string_view>

#include "common/sqlite/sqlite_api.h"
#include "common/store/libs3_store.h"
#include "restore/command.h"
#include "restore/exit_codes.h"

namespace sqlite_s3 {
namespace {

void AddCommon(CLI::App& app, CommonOptions& options) {
  app.add_option("replica", options.replica, "the replica: file:///directory or s3://bucket/prefix")
      ->required();
  app.add_option("--timeline", options.timeline, "a timeline's number (default: the latest)");
  app.add_option("--parallel", options.parallel, "objects fetched at once (default: processors)")
      ->check(CLI::Range(1, 256));
  app.add_flag("--json", options.json, "one JSON object on standard output");
}

int Run(int argc, char** argv) {
  const std::string until_help =
      "latest, a time (RFC 3339, or 'YYYY-MM-DD HH:MM:SS' local), '10 minutes ago', txid:HEX, "
      "mark:NAME";
  CLI::App app("Restores a SQLite database to any commit of its replica.", "sqlite-s3-restore");
  app.set_version_flag(
      "--version",
      std::string("sqlite-s3-restore " SQLITE_S3_VERSION_TEXT ", SQLite ") + sqlite3_libversion());
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 not found, 4 refused, 5 corruption, 6 an object is missing, "
      "7 store unavailable, 8 permission, 9 disk full, 70 internal.\n"
      "A replica named like a subcommand needs a path: ./list");

  ListCommand list;
  CLI::App* list_app = app.add_subcommand("list", "the restore points, marks and images");
  AddCommon(*list_app, list.common);
  list_app->add_option("--since", list.since, until_help);
  list_app->add_option("--until", list.until, until_help);
  list_app->add_option("--limit", list.limit, "only the last N");

  CommonOptions info;
  CLI::App* info_app = app.add_subcommand("info", "the replica in one glance");
  AddCommon(*info_app, info);

  VerifyCommand verify;
  CLI::App* verify_app = app.add_subcommand(
      "verify", "fetches everything and replays every commit from the oldest image");
  AddCommon(*verify_app, verify.common);
  verify_app->add_option("--until", verify.until, until_help);

  DoctorCommand doctor;
  CLI::App* doctor_app = app.add_subcommand(
      "doctor", "tries the store: endpoint, credentials, each right, clock; says what is missing");
  doctor_app->add_option("replica", doctor.common.replica, "the replica's URL")->required();
  doctor_app->add_flag("--json", doctor.common.json, "one JSON object on standard output");
  doctor_app->add_flag("--read-only", doctor.read_only, "only what a restore needs; write nothing");
  doctor_app->add_flag("--abort-uploads", doctor.abort_uploads,
                       "also abort uploads below the prefix that began more than a day ago");

  DiffCommand diff;
  CLI::App* diff_app = app.add_subcommand(
      "diff", "the rows that differ between two restore points, from the pages alone");
  AddCommon(*diff_app, diff.common);
  diff_app->add_option("a", diff.a, "a restore point: " + until_help)->required();
  diff_app->add_option("b", diff.b, "another one")->required();
  diff_app->add_option("--table", diff.table, "only this table");
  diff_app->add_flag("--sql", diff.sql, "an SQL script that makes B of A, instead of the rows");

  LogCommand log;
  CLI::App* log_app = app.add_subcommand(
      "log", "the commits, newest first: tables, schema, and how many rows each changed");
  AddCommon(*log_app, log.common);
  log_app->add_option("--since", log.since, until_help);
  log_app->add_option("--until", log.until, until_help);
  log_app->add_option("--limit", log.limit, "at most N commits, 0 for all (default: 20)");
  log_app->add_option("--table", log.table, "only commits that changed this table");
  log_app->add_option("--grep", log.grep,
                      "only commits with this text in a row, a schema change or a mark");
  log_app->add_flag("--rows", log.rows, "also the rows");

  UndoCommand undo;
  CLI::App* undo_app = app.add_subcommand(
      "undo",
      "an SQL script that reverses one commit; refused where later commits touched its rows");
  AddCommon(*undo_app, undo.common);
  undo_app->add_option("txid", undo.txid, "the commit, as `log` prints it, or mark:NAME")
      ->required();
  undo_app->add_option("--until", undo.until,
                       "the state that the script is for (default: latest): " + until_help);
  auto* undo_output = undo_app->add_option("-o,--output", undo.output,
                                           "write the script there (default: standard output)");
  undo_app
      ->add_option("--apply", undo.apply,
                   "run it on this database, with triggers off: all of it or nothing")
      ->excludes(undo_output);

  // The main job has no name of its own: sqlite-s3-restore REPLICA -o DB.
  RestoreCommand restore;
  CLI::App main_app("Restores a SQLite database to any commit of its replica.",
                    "sqlite-s3-restore");
  AddCommon(main_app, restore.common);
  main_app.add_option("-o,--output", restore.output, "the database to make; - for standard output")
      ->required();
  main_app.add_option("--until", restore.until, until_help);
  main_app
      .add_option("--via", restore.via,
                  "how: pages, SQLite's own checkpoint of a WAL, or sql: "
                  "execute the statements, and take the pages of "
                  "commits that they do not make")
      ->check(CLI::IsMember({"pages", "checkpoint", "sql"}));
  main_app.add_flag("--strict", restore.strict,
                    "with --via sql: stop at the first commit that would take its pages");
  main_app.add_option("--skip-txid", restore.skip_txid,
                      "N[,M]: execute the history without these commits, and say what changed");
  main_app
      .add_option("--sql-timeout", restore.sql_timeout,
                  "with --via sql: seconds that one commit's statements may take (default: 30)")
      ->check(CLI::Range(0.1, 86'400.0));
  main_app.add_option("--take-pages", restore.take_pages,
                      "N[,M]: with --via sql: do not execute these commits, take their pages");
  main_app.add_option("--verify", restore.verify, "SQLite's check of the result, after the proof")
      ->check(CLI::IsMember({"none", "quick", "full"}));
  main_app.add_option("--max-size", restore.max_size, "refuse a larger database, such as 10GiB");
  main_app.add_flag("--dry-run", restore.dry_run, "say what would be fetched, do nothing");
  main_app.add_flag("--force", restore.force, "move an existing target aside");
  main_app.add_flag("--if-not-exists", restore.if_not_exists, "do nothing if the target exists");

  const std::string first = argc > 1 ? argv[1] : "--help";
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const bool named = first == "--version" || first == "--help" || first == "-h" ||
                     std::any_of(commands.begin(), commands.end(), [&](const CLI::App* command) {
                       return command->get_name() == first;
                     });
  CLI::App& chosen = named ? app : main_app;
  try {
    chosen.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs((app.help() + "\nThe main job:\n" + main_app.help()).c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0 &&
        std::find(argv, argv + argc, std::string_view("--json")) != argv + argc) {
      CommonOptions json;
      json.json = true;
      return Fail(InvalidArgumentError(error.what()), json);
    }
    const int code = chosen.exit(error, std::cout, std::cerr);
    return code == 0 ? 0 : kExitUsage;
  }
  if (*list_app) {
    return RunList(list);
  }
  if (*info_app) {
    return RunInfo(info);
  }
  if (*verify_app) {
    return RunVerify(verify);
  }
  if (*doctor_app) {
    return RunDoctor(doctor);
  }
  if (*diff_app) {
    return RunDiff(diff);
  }
  if (*log_app) {
    return RunLog(log);
  }
  if (*undo_app) {
    return RunUndo(undo);
  }
  if (named) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  restore.arguments.assign(argv, argv + argc);
  return RunRestore(restore);
}

}  // namespace
}  // namespace sqlite_s3

int main(int argc, char** argv) {
  try {
    sqlite_s3::RegisterLibs3(&sqlite_s3::OpenLibs3Store);
    return sqlite_s3::Run(argc, argv);
  } catch (const std::exception& error) {  // std::bad_alloc and our bugs
    std::fputs(fmt::format("sqlite-s3-restore: internal error: {}\n", error.what()).c_str(),
               stderr);
    return sqlite_s3::ExitCodeFor(sqlite_s3::StatusCode::kInternal);
  }
}
