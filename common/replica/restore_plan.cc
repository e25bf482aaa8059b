#include "common/replica/restore_plan.h"

#include <algorithm>
#include <utility>

#include "common/base/time.h"
#include "common/format/keys.h"
#include "common/replica/chain_walker.h"

namespace sqlite_s3 {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

class Planner {
 public:
  Planner(Replica& replica, const PlanOptions& options, Damage* damage)
      : replica_(replica), options_(options), damage_(damage) {}

  Result<RestorePlan> Plan(const RestoreTarget& target) {
    RETURN_IF_ERROR(Resolve(target));
    ASSIGN_OR_RETURN(images_, ImagesOfHistory(replica_, ancestry_, &plan_.problems));
    RETURN_IF_ERROR(ChooseImage());
    RETURN_IF_ERROR(Walk());
    return std::move(plan_);
  }

 private:
  // Timeline, and the target as a TXID or a time (neither: latest).
  Status Resolve(const RestoreTarget& target) {
    ASSIGN_OR_RETURN(auto timelines, replica_.ListTimelines());
    std::optional<MarkDocument> mark;
    if (const auto* named = std::get_if<TargetMark>(&target)) {
      ASSIGN_OR_RETURN(mark, replica_.ReadMark(named->name));
      txid_ = mark->txid;
    } else if (const auto* txid = std::get_if<Txid>(&target)) {
      txid_ = *txid;
    } else if (const auto* time = std::get_if<TargetTime>(&target)) {
      time_us_ = time->time_us;
    }
    if (options_.timeline) {
      plan_.timeline = *options_.timeline;
    } else if (mark) {
      plan_.timeline = mark->timeline;
    } else {
      ASSIGN_OR_RETURN(plan_.timeline, Replica::LatestTimeline(timelines));
    }
    ASSIGN_OR_RETURN(ancestry_, Replica::Ancestry(timelines, plan_.timeline));
    if (mark && !Holds(mark->timeline, mark->txid)) {
      return FailedPreconditionError(
          "mark '" + mark->name + "' names TXID " + FormatTxid(mark->txid) + " of timeline " +
          std::to_string(mark->timeline.value) + ", which is not in the history of timeline " +
          std::to_string(plan_.timeline.value) + ", hint: leave --timeline out");
    }
    return Status::Ok();
  }

  bool Holds(TimelineId timeline, Txid txid) const {
    return std::any_of(ancestry_.begin(), ancestry_.end(), [&](const Replica::Ancestor& a) {
      // A mark on the state a line starts from names the line, not its parent.
      return a.timeline == timeline && txid >= a.first.Prev() && (!a.last || txid <= *a.last);
    });
  }

  // The newest image at or before the target.
  Status ChooseImage() {
    const ImageManifest* chosen = nullptr;
    int64_t floor_us = INT64_MIN;
    for (const ImageManifest& image : images_) {
      floor_us = std::max(floor_us, image.commit_time_us);
      if ((options_.image_before && image.txid >= *options_.image_before) ||
          (txid_ && image.txid > *txid_) || (time_us_ && floor_us > *time_us_)) {
        break;
      }
      chosen = &image;
      image_time_us_ = floor_us;
    }
    if (chosen) {
      plan_.image = *chosen;
      return Status::Ok();
    }
    if (options_.image_before) {
      return NotFoundError("there is no older image");
    }
    std::string passed_over;
    for (const std::string& problem : plan_.problems) {
      passed_over += "; passed over: " + problem;
    }
    if (images_.empty()) {
      return NotFoundError("the replica has no complete image on timeline " +
                           std::to_string(plan_.timeline.value) + ": nothing can be restored yet" +
                           passed_over);
    }
    const ImageManifest& first = images_.front();
    return NotFoundError("the target is before the first restore point, TXID " +
                         FormatTxid(first.txid) + " of " + FormatTimeUtc(first.commit_time_us) +
                         passed_over);
  }

  Status ImageCorrupt(const std::string& what) {
    const std::string key = keys::ImageManifest(plan_.image.timeline, plan_.image.txid);
    if (damage_) {
      *damage_ = {key, /*missing=*/false, std::nullopt, plan_.image.txid};
    }
    return CorruptionError(key + ": " + what);
  }

  // The image must be the state that the log has there.
  Status CheckImage(const SegmentHeader& header, const std::vector<CommitRecord>& commits) {
    const Txid at = plan_.image.txid;
    uint32_t page_count = header.start_page_count;
    uint64_t checksum = header.start_checksum;
    if (header.first_txid <= at) {
      const CommitRecord& record = commits[at.value - header.first_txid.value];
      page_count = record.page_count;
      checksum = record.db_checksum;
      plan_.flags = record.flags;
    }
    if (page_count != plan_.image.page_count || checksum != plan_.image.db_checksum) {
      return ImageCorrupt("is not the state that the log has after TXID " + FormatTxid(at));
    }
    return Status::Ok();
  }

  void StartFromImage() {
    const ImageManifest& image = plan_.image;
    plan_.txid = image.txid;
    plan_.commit_time_us = image_time_us_;
    plan_.page_size = image.page_size;
    plan_.page_count = image.page_count;
    plan_.max_page_count = image.page_count;
    plan_.db_checksum = image.db_checksum;
    for (const ImagePartInfo& part : image.parts) {
      plan_.fetch_bytes += part.size_bytes;
      ++plan_.fetch_objects;
    }
  }

  void Choose(Txid txid, int64_t time_us, const CommitRecord& record, TimelineId timeline) {
    plan_.txid = txid;
    plan_.commit_time_us = time_us;
    plan_.page_count = record.page_count;
    plan_.max_page_count = std::max(plan_.max_page_count, record.page_count);
    plan_.db_checksum = record.db_checksum;
    plan_.flags = record.flags;
    ++plan_.commit_count;
    for (const PartRef& part : record.parts) {
      plan_.fetch_bytes += part.size_bytes;
      ++plan_.fetch_objects;
      if (options_.parts != nullptr) {
        options_.parts->push_back({keys::Part(timeline, part.nonce, part.number), part.size_bytes});
      }
    }
  }

  bool Reached() const { return txid_ && plan_.txid == *txid_; }

  // Takes the commits of one segment up to the target. True when the one after the target was seen.
  bool Take(WalkedSegment& walked) {
    const SegmentHeader& header = walked.segment.header;
    bool used = false;
    bool done = false;
    const Txid from = std::max(header.first_txid, plan_.image.txid.Next());
    for (Txid txid = from; txid <= walked.last_txid && !done; txid = txid.Next()) {
      const CommitRecord& record = walked.segment.commits[txid.value - header.first_txid.value];
      const int64_t time_us = std::max(clamp_us_, record.time_us);
      done = Reached() || (time_us_ && time_us > *time_us_);
      if (done) {
        plan_.next_txid = txid;
        plan_.next_time_us = time_us;
      } else {
        clamp_us_ = time_us;
        Choose(txid, time_us, record, header.timeline);
        used = true;
      }
    }
    if (used) {
      plan_.fetch_bytes += walked.segment.object_size_bytes;
      ++plan_.fetch_objects;
      plan_.segments.push_back({walked.key,
                                header,
                                walked.segment.digest,
                                walked.segment.object_size_bytes,
                                walked.last_txid,
                                {}});
      replica_.Keep(walked.key, std::move(walked.segment));
    }
    return done;
  }

  Status Walk() {
    StartFromImage();
    clamp_us_ = image_time_us_;
    ChainWalker walker(replica_, ancestry_, plan_.image.txid.Next());
    for (bool first = true;; first = false) {
      auto walked = walker.Next();
      if (!walked.ok()) {
        if (Reached()) {
          return Status::Ok();  // only the commit after it could not be read
        }
        return Damaged(walked.status(), walker.damage());
      }
      if (!walked->has_value()) {
        break;
      }
      if (first) {
        RETURN_IF_ERROR(CheckImage((*walked)->segment.header, (*walked)->segment.commits));
      }
      if (Take(**walked)) {
        return Status::Ok();
      }
    }
    if (txid_ && !Reached()) {
      return NotFoundError("TXID " + FormatTxid(*txid_) + " is not on timeline " +
                           std::to_string(plan_.timeline.value) + ", which ends at " +
                           FormatTxid(plan_.txid) + " of " + FormatTimeUtc(plan_.commit_time_us));
    }
    return Status::Ok();
  }

  Status Damaged(const Status& error, const Damage& what) {
    if (what.key.empty()) {
      return error;
    }
    if (damage_) {
      *damage_ = what;
      damage_->best = plan_.txid;
    }
    return {error.code(), error.message() + ", hint: the best restore point before it is TXID " +
                              FormatTxid(plan_.txid) + " of " +
                              FormatTimeUtc(plan_.commit_time_us) +
                              " (--until txid:" + FormatTxid(plan_.txid) + ")"};
  }

  Replica& replica_;
  const PlanOptions& options_;
  Damage* damage_;
  RestorePlan plan_;
  std::vector<Replica::Ancestor> ancestry_;
  std::vector<ImageManifest> images_;
  std::optional<Txid> txid_;
  std::optional<int64_t> time_us_;
  int64_t image_time_us_ = 0;
  int64_t clamp_us_ = 0;
};

}  // namespace

std::vector<int64_t> MonotoneTimes(const std::vector<SegmentSummary>& segments, int64_t floor_us) {
  std::vector<int64_t> times;
  for (const SegmentSummary& segment : segments) {
    for (const CommitRecord& record : segment.commits) {
      floor_us = std::max(floor_us, record.time_us);
      times.push_back(floor_us);
    }
  }
  return times;
}

int64_t RestorePointClock::At(Txid txid, int64_t time_us) {
  bool starts_anew = false;
  for (; next_image_ < images_.size() && images_[next_image_].txid <= txid; ++next_image_) {
    image_time_us_ = std::max(image_time_us_, images_[next_image_].commit_time_us);
    // An image may lie before the first segment, or on this very commit.
    starts_anew = images_[next_image_].txid == txid;
    floor_us_ = image_time_us_;
  }
  floor_us_ = starts_anew ? image_time_us_ : std::max(floor_us_, time_us);
  return floor_us_;
}

std::vector<int64_t> RestorePointTimes(const std::vector<SegmentSummary>& segments,
                                       const std::vector<ImageManifest>& images) {
  RestorePointClock clock(images);
  std::vector<int64_t> times;
  for (const SegmentSummary& segment : segments) {
    Txid txid = segment.header.first_txid;
    for (const CommitRecord& record : segment.commits) {
      times.push_back(clock.At(txid, record.time_us));
      txid = txid.Next();
    }
  }
  return times;
}

Result<std::vector<ImageManifest>> ImagesOfHistory(Replica& replica,
                                                   const std::vector<Replica::Ancestor>& ancestry,
                                                   std::vector<std::string>* problems) {
  std::vector<ImageManifest> images;
  for (const Replica::Ancestor& line : ancestry) {
    ASSIGN_OR_RETURN(auto of_line, replica.ListImages(line.timeline, problems));
    for (ImageManifest& image : of_line) {
      // An image of the state the line starts from is as good as one of its first commit.
      const bool inside = image.txid >= line.first.Prev() && image.txid.value > 0 &&
                          (!line.last || image.txid <= *line.last);
      if (inside && (images.empty() || images.back().txid < image.txid)) {
        images.push_back(std::move(image));
      }
    }
  }
  return images;
}

Result<RestorePlan> PlanRestore(Replica& replica, const RestoreTarget& target,
                                const PlanOptions& options, Damage* damage) {
  return Planner(replica, options, damage).Plan(target);
}

}  // namespace sqlite_s3
