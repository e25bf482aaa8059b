// sqlite-s3-restore list REPLICA: the restore points, marks and timelines.

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "restore/command.h"
#include "restore/exit_codes.h"

namespace sqlite_s3 {
namespace {

struct Row {
  Txid txid;
  TimelineId timeline;
  int64_t time_us = 0;
  uint32_t page_count = 0;
  size_t pages_changed = 0;
  uint64_t bytes = 0;  // its share of the segment
  uint8_t flags = 0;
  bool image = false;
  std::string marks;
};

struct Listing {
  TimelineId timeline;
  std::vector<TimelineDocument> timelines;
  std::vector<MarkDocument> marks;
  std::vector<Row> rows;
  uint64_t total = 0;  // restore points within the bounds, shown or not
  std::vector<std::string> problems;
  bool gap = false;  // the only problem is that an object is missing
};

// --since and --until, as what they bound.
struct Bound {
  std::optional<Txid> txid;
  std::optional<int64_t> time_us;
  bool Set() const { return txid || time_us; }
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

class Lister {
 public:
  Lister(Replica& replica, const ListCommand& command) : replica_(replica), command_(command) {}

  Result<Listing> List() {
    ASSIGN_OR_RETURN(since_, ParseBound(command_.since, replica_));
    ASSIGN_OR_RETURN(until_, ParseBound(command_.until, replica_));
    ASSIGN_OR_RETURN(auto wanted, ParseTimelineOption(command_.common.timeline));
    ASSIGN_OR_RETURN(out_.timelines, replica_.ListTimelines());
    if (wanted) {
      out_.timeline = *wanted;
    } else {
      ASSIGN_OR_RETURN(out_.timeline, Replica::LatestTimeline(out_.timelines));
    }
    ASSIGN_OR_RETURN(ancestry_, Replica::Ancestry(out_.timelines, out_.timeline));
    ASSIGN_OR_RETURN(images_, ImagesOfHistory(replica_, ancestry_, &out_.problems));
    ASSIGN_OR_RETURN(out_.marks, replica_.ListMarks(&out_.problems));
    if (images_.empty()) {
      return NotFoundError("no complete image in this history, so nothing can be restored yet");
    }
    ASSIGN_OR_RETURN(const Txid from, ChooseStart());
    RETURN_IF_ERROR(ReadRows(from));
    return std::move(out_);
  }

 private:
  // An image before everything that may be shown: the log before it need not be read.
  Result<Txid> ChooseStart() {
    std::optional<Txid> first_shown = since_.txid;
    if (!since_.Set() && command_.limit > 0 && !until_.time_us) {
      ASSIGN_OR_RETURN(const Head head, replica_.FindHead(out_.timelines, out_.timeline));
      const Txid last = until_.txid ? std::min(*until_.txid, head.txid) : head.txid;
      first_shown = Txid{last.value > command_.limit ? last.value - command_.limit + 1 : 1};
      // TXIDs are dense: how many there are is known without reading them.
      if (last >= images_.front().txid) {
        out_.total = last.value - images_.front().txid.value + 1;
      }
    }
    Txid start = images_.front().txid;
    int64_t image_time_us = INT64_MIN;
    for (const ImageManifest& image : images_) {
      image_time_us = std::max(image_time_us, image.commit_time_us);
      if (first_shown ? image.txid <= *first_shown
                      : since_.time_us && image_time_us < *since_.time_us) {
        start = image.txid;
      }
    }
    return start;
  }

  bool Inside(Txid txid, int64_t time_us) const {
    return (!since_.txid || txid >= *since_.txid) && (!until_.txid || txid <= *until_.txid) &&
           (!since_.time_us || time_us >= *since_.time_us) &&
           (!until_.time_us || time_us <= *until_.time_us);
  }

  Status ReadRows(Txid from) {
    if (until_.txid && *until_.txid < from) {
      return Status::Ok();
    }
    std::vector<SegmentSummary> segments;
    Damage damage;
    const auto to = until_.txid && *until_.txid > from ? until_.txid : std::nullopt;
    auto chain = replica_.ReadChain(out_.timelines, out_.timeline, from, to, &segments, &damage);
    if (chain.ok()) {
      segments = std::move(*chain);
    } else if (!damage.key.empty()) {
      out_.gap = damage.missing && out_.problems.empty();
      out_.problems.push_back(chain.status().message());  // what comes before it is listed
    } else if (chain.code() != StatusCode::kNotFound) {   // the log ends before --until: so be it
      return chain.status();
    }
    const std::vector<int64_t> times = RestorePointTimes(segments, images_);
    size_t at = 0;
    uint64_t inside = 0;
    for (const SegmentSummary& s : segments) {
      Txid txid = s.header.first_txid;
      for (const CommitRecord& record : s.commits) {
        const int64_t time_us = times[at++];
        if (txid >= from && Inside(txid, time_us)) {
          ++inside;
          out_.rows.push_back(MakeRow(s, txid, time_us, record));
        }
        txid = txid.Next();
      }
    }
    out_.total = std::max(out_.total, inside);
    if (command_.limit > 0 && out_.rows.size() > command_.limit) {
      out_.rows.erase(out_.rows.begin(), out_.rows.end() - static_cast<ptrdiff_t>(command_.limit));
    }
    return Status::Ok();
  }

  Row MakeRow(const SegmentSummary& segment, Txid txid, int64_t time_us,
              const CommitRecord& record) const {
    Row row;
    row.txid = txid;
    row.timeline = segment.header.timeline;
    row.time_us = time_us;
    row.page_count = record.page_count;
    row.pages_changed = record.pages.size();
    row.bytes = segment.size_bytes / segment.header.commit_count;
    for (const PartRef& part : record.parts) {
      row.bytes += part.size_bytes;
    }
    row.flags = record.flags;
    row.image = std::any_of(images_.begin(), images_.end(),
                            [&](const ImageManifest& i) { return i.txid == txid; });
    for (const MarkDocument& mark : out_.marks) {
      if (mark.txid == txid && mark.timeline == segment.header.timeline) {
        row.marks += (row.marks.empty() ? "" : ",") + mark.name;
      }
    }
    return row;
  }

  Replica& replica_;
  const ListCommand& command_;
  Bound since_, until_;
  std::vector<Replica::Ancestor> ancestry_;
  std::vector<ImageManifest> images_;
  Listing out_;
};

nlohmann::ordered_json ToJson(const Listing& listing) {
  nlohmann::ordered_json points = nlohmann::json::array();
  for (const Row& row : listing.rows) {
    nlohmann::ordered_json point = {
        {"txid", FormatTxid(row.txid)},       {"time", FormatTimeUtc(row.time_us)},
        {"timeline", row.timeline.value},     {"page_count", row.page_count},
        {"pages_changed", row.pages_changed}, {"bytes", row.bytes},
        {"flags", DescribeFlags(row.flags)},  {"image", row.image}};
    if (!row.marks.empty()) {
      point["mark"] = row.marks;
    }
    points.push_back(std::move(point));
  }
  nlohmann::ordered_json marks = nlohmann::json::array();
  for (const MarkDocument& mark : listing.marks) {
    marks.push_back({{"name", mark.name},
                     {"txid", FormatTxid(mark.txid)},
                     {"timeline", mark.timeline.value},
                     {"created", FormatTimeUtc(mark.created_us)}});
  }
  return {{"timeline", listing.timeline.value},
          {"restore_points", listing.total},
          {"points", points},
          {"marks", marks},
          {"timelines", TimelinesToJson(listing.timelines)},
          {"problems", listing.problems}};
}

void PrintText(const Listing& listing) {
  fmt::print("{:16}  {:32}  {:>4} {:>9} {:>7} {:>8}  {}\n", "TXID", "time", "line", "pages",
             "changed", "bytes", "");
  for (const Row& row : listing.rows) {
    std::string notes = DescribeFlags(row.flags);
    if (row.image) {
      notes += notes.empty() ? "image" : ",image";
    }
    if (!row.marks.empty()) {
      notes.append(" mark:").append(row.marks);
    }
    fmt::print("{:16}  {:32}  {:>4} {:>9} {:>7} {:>8}  {}\n", FormatTxid(row.txid),
               FormatTimeLocal(row.time_us), row.timeline.value, row.page_count, row.pages_changed,
               row.bytes, notes);
  }
  fmt::print("{} restore points{}\n", listing.total,
             listing.rows.size() < listing.total
                 ? fmt::format(", the last {} shown", listing.rows.size())
                 : "");
  for (const MarkDocument& mark : listing.marks) {
    fmt::print("mark {}: TXID {} of timeline {}\n", mark.name, FormatTxid(mark.txid),
               mark.timeline.value);
  }
  for (const TimelineDocument& line : listing.timelines) {
    if (line.parent.value != 0) {
      fmt::print("timeline {} leaves {} at TXID {} ({}, {})\n", line.timeline.value,
                 line.parent.value, FormatTxid(line.parent_txid), TimelineReasonName(line.reason),
                 FormatTimeLocal(line.created_us));
    }
  }
  for (const std::string& problem : listing.problems) {
    std::fputs(("damaged: " + problem + "\n").c_str(), stderr);
  }
}

}  // namespace

int RunList(const ListCommand& command) {
  auto opened = OpenReplica(command.common);
  if (!opened.ok()) {
    return Fail(opened.status(), command.common);
  }
  auto listing = Lister(*opened->replica, command).List();
  if (!listing.ok()) {
    return Fail(listing.status(), command.common);
  }
  if (command.common.json) {
    PrintJson(ToJson(*listing));
  } else {
    PrintText(*listing);
  }
  if (listing->problems.empty()) {
    return 0;
  }
  return listing->gap ? kExitGap : ExitCodeFor(StatusCode::kCorruption);
}

}  // namespace sqlite_s3
