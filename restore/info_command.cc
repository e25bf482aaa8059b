// sqlite-s3-restore info REPLICA: the replica in one glance, without reading its log.

#include <fmt/format.h>

#include <cstdio>

#include "common/base/time.h"
#include "common/format/keys.h"
#include "restore/command.h"
#include "restore/exit_codes.h"

namespace sqlite_s3 {
namespace {

Result<nlohmann::ordered_json> Describe(OpenedReplica& opened, const CommonOptions& options) {
  Replica& replica = *opened.replica;
  const ReplicaDocument& document = replica.document();
  ASSIGN_OR_RETURN(const auto timelines, replica.ListTimelines());
  ASSIGN_OR_RETURN(const auto wanted, ParseTimelineOption(options.timeline));
  TimelineId timeline;
  if (wanted) {
    timeline = *wanted;
  } else {
    ASSIGN_OR_RETURN(timeline, Replica::LatestTimeline(timelines));
  }
  ASSIGN_OR_RETURN(const auto ancestry, Replica::Ancestry(timelines, timeline));
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(const auto images, ImagesOfHistory(replica, ancestry, &problems));
  ASSIGN_OR_RETURN(const auto marks, replica.ListMarks(&problems));
  ASSIGN_OR_RETURN(const Head head, replica.FindHead(timelines, timeline));
  uint64_t segments = 0;
  uint64_t log_bytes = 0;
  for (const Replica::Ancestor& line : ancestry) {
    ASSIGN_OR_RETURN(const auto objects, ListAll(replica.store(), keys::LogPrefix(line.timeline)));
    for (const ObjectInfo& object : objects) {
      ++segments;
      log_bytes += object.size_bytes;
    }
  }
  nlohmann::ordered_json json = {
      {"replica", opened.store->Describe()},
      {"database_id", FormatDatabaseId(document.database_id)},
      {"format", kFormatVersion},
      {"created", FormatTimeUtc(document.created_us)},
      {"page_size", document.page_size},
      {"timeline", timeline.value},
      {"timelines", TimelinesToJson(timelines)},
      {"latest_txid", FormatTxid(head.txid)},
      {"latest_time", FormatTimeUtc(head.commit_time_us)},
      {"page_count", head.page_count},
      {"db_checksum", fmt::format("{:016x}", head.db_checksum)},
      {"writer", FormatWriterId(head.writer)},
      {"segments", segments},
      {"log_bytes", log_bytes},
      {"images", images.size()},
      {"marks", marks.size()},
  };
  if (!images.empty()) {  // else nothing can be restored yet
    json["oldest_txid"] = FormatTxid(images.front().txid);
    json["oldest_time"] = FormatTimeUtc(images.front().commit_time_us);
    json["newest_image_txid"] = FormatTxid(images.back().txid);
    json["writer_sqlite"] = images.back().sqlite_version;
  }
  json["problems"] = problems;
  return json;
}

}  // namespace

int RunInfo(const CommonOptions& options) {
  auto opened = OpenReplica(options);
  if (!opened.ok()) {
    return Fail(opened.status(), options);
  }
  auto json = Describe(*opened, options);
  if (!json.ok()) {
    return Fail(json.status(), options);
  }
  const auto& problems = (*json)["problems"];
  if (options.json) {
    PrintJson(*json);
  } else {
    for (const auto& [key, value] : json->items()) {
      if (key == "timelines") {
        for (const auto& line : value) {
          fmt::print("{:18} {}\n", "timeline", line.dump());
        }
      } else if (key != "problems") {
        fmt::print("{:18} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
      }
    }
    for (const auto& problem : problems) {
      std::fputs(("damaged: " + problem.get<std::string>() + "\n").c_str(), stderr);
    }
  }
  return problems.empty() ? 0 : ExitCodeFor(StatusCode::kCorruption);
}

}  // namespace sqlite_s3
