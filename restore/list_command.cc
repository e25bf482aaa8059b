// sqlite-s3-restore list REPLICA: the restore points. And info: the replica in one glance.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "restore/command.h"

namespace sqlite_s3 {
namespace {

struct History {
  std::vector<TimelineDocument> timelines;
  TimelineId timeline;
  std::vector<ImageManifest> images;
  std::vector<SegmentSummary> segments;  // from the oldest image on
  std::vector<int64_t> times;
  std::vector<MarkDocument> marks;
  std::vector<std::string> problems;
  Damage damage;
};

Result<History> ReadHistory(Replica& replica, const CommonOptions& options) {
  History h;
  ASSIGN_OR_RETURN(h.timelines, replica.ListTimelines());
  ASSIGN_OR_RETURN(auto wanted, ParseTimelineOption(options.timeline));
  if (wanted) {
    h.timeline = *wanted;
  } else {
    ASSIGN_OR_RETURN(h.timeline, Replica::LatestTimeline(h.timelines));
  }
  ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(h.timelines, h.timeline));
  ASSIGN_OR_RETURN(h.images, ImagesOfHistory(replica, ancestry, &h.problems));
  ASSIGN_OR_RETURN(h.marks, replica.ListMarks(&h.problems));
  if (h.images.empty()) {
    return NotFoundError("no image in this history, so nothing can be restored yet");
  }
  auto chain = replica.ReadChain(h.timelines, h.timeline, h.images.front().txid, std::nullopt,
                                 &h.segments, &h.damage);
  if (chain.ok()) {
    h.segments = std::move(chain).value();
  } else {
    h.problems.push_back(chain.status().ToString());  // what comes before it is listed
  }
  h.times = MonotoneTimes(h.segments);
  return h;
}

struct Bound {
  std::optional<Txid> txid;
  std::optional<int64_t> time_us;
};
Result<Bound> ParseBound(const std::string& text, Replica& replica) {
  Bound bound;
  if (text.empty()) {
    return bound;
  }
  ASSIGN_OR_RETURN(RestoreTarget target, ParseRestoreTarget(text, Clock::Real().WallMicros()));
  if (auto* txid = std::get_if<Txid>(&target)) {
    bound.txid = *txid;
  } else if (auto* time = std::get_if<TargetTime>(&target)) {
    bound.time_us = time->time_us;
  } else if (auto* mark = std::get_if<TargetMark>(&target)) {
    ASSIGN_OR_RETURN(MarkDocument document, replica.ReadMark(mark->name));
    bound.txid = document.txid;
  }
  return bound;
}

}  // namespace

int RunList(const ListCommand& command) {
  auto opened = OpenReplica(command.common);
  if (!opened.ok()) {
    return Fail(opened.status(), command.common);
  }
  auto since = ParseBound(command.since, *opened->replica);
  auto until = ParseBound(command.until, *opened->replica);
  if (!since.ok() || !until.ok()) {
    return Fail(since.ok() ? until.status() : since.status(), command.common);
  }
  auto history = ReadHistory(*opened->replica, command.common);
  if (!history.ok()) {
    return Fail(history.status(), command.common);
  }
  struct Row {
    Txid txid;
    TimelineId timeline;
    int64_t time_us;
    const CommitRecord* record;
    uint64_t bytes;  // its share of the segment
  };
  std::vector<Row> rows;
  size_t at = 0;
  for (const SegmentSummary& s : history->segments) {
    Txid txid = s.header.first_txid;
    for (const CommitRecord& record : s.commits) {
      const int64_t time_us = history->times[at++];
      const bool inside = (!since->txid || txid >= *since->txid) &&
                          (!until->txid || txid <= *until->txid) &&
                          (!since->time_us || time_us >= *since->time_us) &&
                          (!until->time_us || time_us <= *until->time_us);
      if (inside && txid >= history->images.front().txid) {
        rows.push_back({txid, s.header.timeline, time_us, &record,
                        s.size_bytes / std::max<size_t>(s.commits.size(), 1)});
      }
      txid = txid.Next();
    }
  }
  const size_t skip =
      command.limit > 0 && rows.size() > command.limit ? rows.size() - command.limit : 0;
  auto mark_of = [&](Txid txid, TimelineId timeline) {
    std::string names;
    for (const MarkDocument& mark : history->marks) {
      if (mark.txid == txid && mark.timeline == timeline) {
        names += (names.empty() ? "" : ",") + mark.name;
      }
    }
    return names;
  };
  auto has_image = [&](Txid txid) {
    return std::any_of(history->images.begin(), history->images.end(),
                       [&](const ImageManifest& i) { return i.txid == txid; });
  };
  if (command.common.json) {
    nlohmann::ordered_json points = nlohmann::json::array();
    for (size_t i = skip; i < rows.size(); ++i) {
      const Row& row = rows[i];
      nlohmann::ordered_json point = {{"txid", FormatTxid(row.txid)},
                                      {"time", FormatTimeUtc(row.time_us)},
                                      {"timeline", row.timeline.value},
                                      {"page_count", row.record->page_count},
                                      {"pages_changed", row.record->pages.size()},
                                      {"bytes", row.bytes},
                                      {"flags", DescribeFlags(row.record->flags)},
                                      {"image", has_image(row.txid)}};
      const std::string names = mark_of(row.txid, row.timeline);
      if (!names.empty()) {
        point["mark"] = names;
      }
      points.push_back(std::move(point));
    }
    PrintJson({{"timeline", history->timeline.value},
               {"restore_points", rows.size()},
               {"points", points},
               {"problems", history->problems}});
  } else {
    fmt::print("{:16}  {:32}  {:>4} {:>9} {:>7} {:>8}  {}\n", "TXID", "time", "line", "pages",
               "changed", "bytes", "");
    for (size_t i = skip; i < rows.size(); ++i) {
      const Row& row = rows[i];
      std::string notes = DescribeFlags(row.record->flags);
      if (has_image(row.txid)) {
        notes += notes.empty() ? "image" : ",image";
      }
      const std::string names = mark_of(row.txid, row.timeline);
      if (!names.empty()) {
        notes += " mark:" + names;
      }
      fmt::print("{:16}  {:32}  {:>4} {:>9} {:>7} {:>8}  {}\n", FormatTxid(row.txid),
                 FormatTimeLocal(row.time_us), row.timeline.value, row.record->page_count,
                 row.record->pages.size(), row.bytes, notes);
    }
    fmt::print("{} restore points{}\n", rows.size(),
               skip > 0 ? fmt::format(", the last {} shown", rows.size() - skip) : "");
    for (const std::string& problem : history->problems) {
      std::fputs(("damaged: " + problem + "\n").c_str(), stderr);
    }
  }
  if (!history->problems.empty()) {
    return history->damage.missing ? 6 : 5;
  }
  return 0;
}

int RunInfo(const CommonOptions& options) {
  auto opened = OpenReplica(options);
  if (!opened.ok()) {
    return Fail(opened.status(), options);
  }
  auto history = ReadHistory(*opened->replica, options);
  if (!history.ok()) {
    return Fail(history.status(), options);
  }
  const ReplicaDocument& document = opened->replica->document();
  uint64_t log_bytes = 0;
  uint64_t commits = 0;
  for (const SegmentSummary& s : history->segments) {
    log_bytes += s.size_bytes;
    commits += s.commits.size();
  }
  if (history->segments.empty()) {
    return Fail(NotFoundError("the replica has an image but no log"), options);
  }
  const SegmentSummary& last = history->segments.back();
  const CommitRecord& head = last.commits.back();
  nlohmann::ordered_json lines = nlohmann::json::array();
  for (const TimelineDocument& t : history->timelines) {
    lines.push_back({{"timeline", t.timeline.value},
                     {"parent", t.parent.value},
                     {"parent_txid", FormatTxid(t.parent_txid)},
                     {"reason", TimelineReasonName(t.reason)},
                     {"created", FormatTimeUtc(t.created_us)}});
  }
  nlohmann::ordered_json json = {
      {"replica", opened->store->Describe()},
      {"database_id", FormatDatabaseId(document.database_id)},
      {"format", kFormatVersion},
      {"created", FormatTimeUtc(document.created_us)},
      {"page_size", document.page_size},
      {"timeline", history->timeline.value},
      {"timelines", lines},
      {"oldest_txid", FormatTxid(history->images.front().txid)},
      {"oldest_time", FormatTimeUtc(history->images.front().commit_time_us)},
      {"latest_txid", FormatTxid(last.last_txid)},
      {"latest_time", FormatTimeUtc(history->times.back())},
      {"page_count", head.page_count},
      {"db_checksum", fmt::format("{:016x}", head.db_checksum)},
      {"commits", commits},
      {"segments", history->segments.size()},
      {"log_bytes", log_bytes},
      {"images", history->images.size()},
      {"newest_image_txid", FormatTxid(history->images.back().txid)},
      {"marks", history->marks.size()},
      {"writer_sqlite", history->images.back().sqlite_version},
      {"problems", history->problems},
  };
  if (options.json) {
    PrintJson(json);
  } else {
    for (const auto& [key, value] : json.items()) {
      if (key == "timelines") {
        for (const auto& line : value) {
          fmt::print("{:18} {}\n", "timeline", line.dump());
        }
      } else if (key != "problems") {
        fmt::print("{:18} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
      }
    }
    for (const std::string& problem : history->problems) {
      std::fputs(("damaged: " + problem + "\n").c_str(), stderr);
    }
  }
  if (!history->problems.empty()) {
    return history->damage.missing ? 6 : 5;
  }
  return 0;
}

}  // namespace sqlite_s3
