#include "agent/daemon/control_command.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "agent/daemon/control_server.h"
#include "agent/daemon/failure.h"
#include "agent/daemon/verify.h"
#include "common/base/exit_codes.h"
#include "common/config/url.h"

namespace sqlite_s3 {
namespace {

using Json = nlohmann::ordered_json;

std::string Field(const Json& json, const char* name) {
  const auto at = json.find(name);
  if (at == json.end()) {
    return "-";
  }
  return at->is_string() ? at->get<std::string>() : at->dump();
}

// How much of the month's requests is spent.
std::string BudgetSpent(const Json& database) {
  const double budget = database.value("request_budget", 0.0);
  return budget > 0
             ? fmt::format("{:.1f}%", 100 * database.value("requests_this_month", 0.0) / budget)
             : "-";
}

void PrintTable(const Json& databases) {
  fmt::print("{:<11} {:>16} {:>16} {:>8} {:>12} {:>12} {:>9} {:>12} {:>8} {:>7}  {}\n", "STATE",
             "TXID", "SHIPPED", "LAG ms", "WAL bytes", "SPOOL bytes", "REQ/hour", "BYTES/hour",
             "$/month", "BUDGET", "DATABASE");
  for (const Json& d : databases) {
    const bool alarm = d.value("alarm", false);
    fmt::print("{:<11} {:>16} {:>16} {:>8} {:>12} {:>12} {:>9} {:>12} {:>8} {:>7}  {}\n",
               Field(d, "state") + (alarm ? "!" : ""), Field(d, "txid"), Field(d, "shipped_txid"),
               Field(d, "lag_ms"), Field(d, "wal_file_bytes"), Field(d, "spool_bytes"),
               Field(d, "requests_this_hour"), Field(d, "bytes_this_hour"),
               fmt::format("{:.2f}", d.value("cost_per_month", 0.0)), BudgetSpent(d),
               Field(d, "database"));
    for (const char* why : {"waiting_for", "last_error", "checkpoint_error"}) {
      if (const std::string text = Field(d, why); !text.empty()) {
        fmt::print("            {}\n", text);
      }
    }
  }
}

// `verify DATABASE REPLICA`: nobody is asked.
Result<Json> VerifyAlone(const ControlCommand& command) {
  ASSIGN_OR_RETURN(const std::string path, MakeAbsolutePath(command.database));
  ASSIGN_OR_RETURN(const DatabaseSpec spec,
                   MakeDatabaseSpec(path, command.replica, command.options));
  return VerifyDatabase(spec, nullptr, std::chrono::seconds(command.timeout_s),
                        [](std::chrono::milliseconds pause) {
                          std::this_thread::sleep_for(pause);  // a signal ends the program
                          return true;
                        });
}

void PrintVerified(const Json& done) {
  fmt::print("verified: TXID {} is the database, {} pages, checksum {}; image {} and {} commits\n",
             Field(done, "txid"), Field(done, "page_count"), Field(done, "checksum"),
             Field(done, "image_txid"), Field(done, "commits"));
}

}  // namespace

int RunControl(const ControlCommand& command) {
  if (command.command == "verify" && !command.replica.empty()) {
    const auto done = VerifyAlone(command);
    if (!done.ok()) {
      return Fail(done.status(), command.json);
    }
    command.json ? static_cast<void>(std::puts(done->dump().c_str())) : PrintVerified(*done);
    return 0;
  }
  if (command.control.empty()) {
    return Fail(
        InvalidArgumentError("which agent? hint: --control PATH, or SQLITE_S3_AGENT_CONTROL=PATH"),
        command.json);
  }
  nlohmann::json request = {{"command", command.command}, {"timeout_ms", command.timeout_s * 1000},
                            {"all", command.all},         {"no_wait", command.no_wait},
                            {"name", command.name},       {"replica", command.replica},
                            {"options", command.options}};
  if (!command.database.empty()) {
    auto path = MakeAbsolutePath(command.database);
    if (!path.ok()) {
      return Fail(path.status(), command.json);
    }
    request["database"] = *path;
  }
  auto answer = AskAgent(command.control, request);
  if (!answer.ok()) {
    return Fail(answer.status(), command.json);
  }
  if (answer->contains("error")) {
    const Json& error = (*answer)["error"];
    if (command.json) {
      std::puts(answer->dump().c_str());
    } else {
      std::fputs(("sqlite-s3-agent: " + Field(error, "message") + "\n").c_str(), stderr);
    }
    return error.value("exit_code", 70);
  }
  const Json& done = (*answer)["ok"];
  int exit_code = done.value("exit_code", 0);
  if (command.check && !done.value("ok", false)) {
    exit_code = ExitCodeFor(StatusCode::kUnavailable);
  }
  if (command.json) {
    std::puts(done.dump().c_str());
  } else if (command.command == "status") {
    // A monitor shows the first line.
    fmt::print("{}\n", Field(done, "summary"));
    PrintTable(done["databases"]);
    for (const Json& directory : done["directories"]) {
      const std::string error = Field(directory, "last_error");
      fmt::print("directory {}: {} databases{}{}\n", Field(directory, "path"),
                 Field(directory, "databases"), error.empty() ? "" : ", ", error);
    }
    for (const Json& refused : done["refused"]) {
      fmt::print("refused {}: {}\n", Field(refused, "database"), Field(refused, "why"));
    }
    if (const std::string why = Field(done["config"], "refused"); !why.empty()) {
      fmt::print("the configuration was read again and refused, the old one goes on: {}\n", why);
    }
  } else if (done.contains("databases")) {
    for (const Json& one : done["databases"]) {
      if (one.contains("error")) {
        std::fputs(("sqlite-s3-agent: " + Field(one["error"], "message") + "\n").c_str(), stderr);
      } else {
        fmt::print("{}: TXID {}\n", Field(one, "database"), Field(one, "txid"));
      }
    }
  } else if (command.command == "verify") {
    PrintVerified(done);
  } else if (done.contains("txid")) {
    fmt::print("TXID {}\n", Field(done, "txid"));
  }
  return exit_code;
}

}  // namespace sqlite_s3
