#pragma once
// What the subcommands share: the replica on the command line, output as text or JSON, errors.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/replica/restore_plan.h"

namespace sqlite_s3 {

struct CommonOptions {
  std::string replica;
  std::string timeline;  // hex or decimal digits; empty: the latest
  bool json = false;
  int parallel = 0;
};

// An opened replica and the store under it.
struct OpenedReplica {
  std::shared_ptr<ObjectStore> store;  // retries what may work later
  std::unique_ptr<Replica> replica;
};
Result<OpenedReplica> OpenReplica(const CommonOptions& options);

Result<std::optional<TimelineId>> ParseTimelineOption(const std::string& text);
Result<uint64_t> ParseSizeOption(const std::string& text);

// Prints the error (to standard error, or as JSON to standard output) and returns its exit code.
int Fail(const Status& status, const CommonOptions& options, const Damage* damage = nullptr);
void PrintJson(const nlohmann::ordered_json& json);
// "2026-11-20 14:02:11.123456 +0100"
std::string FormatTimeLocal(int64_t time_us);
std::string DescribeFlags(uint8_t flags);
nlohmann::ordered_json TimelinesToJson(const std::vector<TimelineDocument>& timelines);

// The subcommands; each returns the exit code.
struct RestoreCommand {
  CommonOptions common;
  std::string output, until = "latest", via = "pages", verify = "none", max_size, skip_txid;
  std::string take_pages;
  double sql_timeout = 30;  // seconds
  bool dry_run = false, force = false, if_not_exists = false, strict = false;
  std::vector<std::string> arguments;  // of the program, its name included
};
int RunRestore(const RestoreCommand& command);
struct ListCommand {
  CommonOptions common;
  std::string since, until;
  uint64_t limit = 0;
};
int RunList(const ListCommand& command);
int RunInfo(const CommonOptions& command);
struct VerifyCommand {
  CommonOptions common;
  std::string until = "latest";
};
int RunVerify(const VerifyCommand& command);
struct DoctorCommand {
  CommonOptions common;
  bool read_only = false;      // check what a restore needs, write nothing
  bool abort_uploads = false;  // of the replica's prefix, when they are older than a day
};
int RunDoctor(const DoctorCommand& command);

struct DiffCommand {
  CommonOptions common;
  std::string a, b, table;
  bool sql = false;
};
int RunDiff(const DiffCommand& command);
struct LogCommand {
  CommonOptions common;
  std::string since, until, table, grep;
  uint64_t limit = 20;
  bool rows = false;
};
int RunLog(const LogCommand& command);
struct UndoCommand {
  CommonOptions common;
  std::string txid, until = "latest", output, apply;
};
int RunUndo(const UndoCommand& command);

// Runs `attempt` with the newest image, and again with the one before as long as an image is what
// is damaged; the first error, and its damage, when none will do.
template <typename T, typename Attempt>
Result<T> WithOlderImages(Damage* damage, const Attempt& attempt) {
  Result<T> first = attempt(std::nullopt);
  Damage first_damage = *damage;
  Damage last = first_damage;
  bool failed = !first.ok();
  while (failed && last.image) {
    *damage = {};
    Result<T> again = attempt(last.image);
    if (again.ok()) {
      return again;
    }
    if (!damage->image || !(*damage->image < *last.image)) {
      break;
    }
    last = *damage;
  }
  *damage = first_damage;
  return first;
}

}  // namespace sqlite_s3
