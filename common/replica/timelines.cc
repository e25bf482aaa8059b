// The pure part of Replica: which line "latest" means, and what a line inherits.

#include <algorithm>

#include "common/replica/replica.h"

namespace sqlite_s3 {
namespace {

const TimelineDocument* Find(const std::vector<TimelineDocument>& timelines, TimelineId id) {
  const auto it = std::find_if(timelines.begin(), timelines.end(),
                               [&](const auto& t) { return t.timeline == id; });
  return it == timelines.end() ? nullptr : &*it;
}

}  // namespace

Result<TimelineId> Replica::LatestTimeline(const std::vector<TimelineDocument>& timelines) {
  std::vector<TimelineId> live;
  for (const TimelineDocument& line : timelines) {
    const bool superseded = std::any_of(timelines.begin(), timelines.end(), [&](const auto& t) {
      return t.parent == line.timeline && t.supersedes_parent;
    });
    if (!superseded) {
      live.push_back(line.timeline);
    }
  }
  if (live.size() == 1) {
    return live.front();
  }
  if (live.empty()) {
    return NotFoundError("the replica has no timeline");
  }
  std::string names;
  for (TimelineId id : live) {
    names += (names.empty() ? "" : ", ") + std::to_string(id.value);
  }
  return FailedPreconditionError("several timelines live: " + names +
                                 ", hint: choose with --timeline");
}

Result<std::vector<Replica::Ancestor>> Replica::Ancestry(
    const std::vector<TimelineDocument>& timelines, TimelineId timeline) {
  std::vector<Ancestor> lines;
  std::optional<Txid> leaves_at;
  for (TimelineId id = timeline; id.value != 0;) {
    const TimelineDocument* line = Find(timelines, id);
    if (!line) {
      return NotFoundError("there is no timeline " + std::to_string(id.value));
    }
    // A line left before its first commit has nothing to give.
    const Txid first = line->parent_txid.Next();
    if (!leaves_at || first <= *leaves_at) {
      lines.push_back({id, first, leaves_at});
    }
    leaves_at = leaves_at ? std::min(*leaves_at, line->parent_txid) : line->parent_txid;
    if (line->parent >= id) {  // ListTimelines refuses it; never loop on what it did not see
      return CorruptionError("timeline " + std::to_string(id.value) + " is its own ancestor");
    }
    id = line->parent;
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

}  // namespace sqlite_s3
