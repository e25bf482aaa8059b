#include "restore/verifier.h"

#include <algorithm>
#include <tuple>

#include "common/format/keys.h"
#include "restore/restorer.h"

namespace sqlite_s3 {
namespace {

bool IsDamage(StatusCode code) {
  return code == StatusCode::kCorruption || code == StatusCode::kNotFound;
}

// The last TXID that two histories have in common; 0 if none.
Txid SharedUntil(const std::vector<Replica::Ancestor>& a, const std::vector<Replica::Ancestor>& b) {
  constexpr Txid kOpen{UINT64_MAX};
  Txid shared;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (a[i].timeline != b[i].timeline) {
      break;
    }
    shared = std::min(a[i].last.value_or(kOpen), b[i].last.value_or(kOpen));
    if (a[i].last != b[i].last) {
      break;
    }
  }
  return shared;
}

class Verifier {
 public:
  Verifier(Replica& replica, Progress& progress) : replica_(replica), progress_(progress) {}

  Status Start() {
    ASSIGN_OR_RETURN(timelines_, replica_.ListTimelines());
    return Status::Ok();
  }
  const std::vector<TimelineDocument>& timelines() const { return timelines_; }

  // One history from its oldest image to `to` (absent: its head), but for what an earlier call saw.
  Status VerifyLine(TimelineId timeline, std::optional<Txid> to);
  Status VerifyMarks();
  VerifyReport TakeReport() {
    std::sort(report_.restorable.begin(), report_.restorable.end(),
              [](const RestorableRange& a, const RestorableRange& b) {
                return std::tie(a.timeline, a.first) < std::tie(b.timeline, b.first);
              });
    return std::move(report_);
  }

 private:
  // Replays from `image` to `target`; what it reached, absent if not even the image.
  Result<std::optional<Txid>> Replay(TimelineId timeline, Txid image, const RestoreTarget& target,
                                     Damage* damage);
  Status VerifyHashes(const ImageManifest& image);
  void Find(const std::string& object, const std::string& message, bool missing) {
    const bool known = std::any_of(report_.findings.begin(), report_.findings.end(),
                                   [&](const VerifyFinding& f) { return f.object == object; });
    if (!known) {
      report_.findings.push_back({object, message, missing});
    }
  }
  // What lists pass over: "<key>: <what is wrong>".
  void FindAll(const std::vector<std::string>& problems) {
    for (const std::string& problem : problems) {
      Find(problem.substr(0, problem.find(": ")), problem, /*missing=*/false);
    }
  }
  void Reached(TimelineId timeline, Txid first, Txid last) {
    auto& ranges = report_.restorable;
    if (!ranges.empty() && ranges.back().timeline == timeline && first <= ranges.back().last) {
      ranges.back().last = std::max(ranges.back().last, last);
    } else {
      ranges.push_back({timeline, first, last});
    }
  }

  Replica& replica_;
  Progress& progress_;
  std::vector<TimelineDocument> timelines_;
  std::vector<std::vector<Replica::Ancestor>> seen_;
  VerifyReport report_;
};

Result<std::optional<Txid>> Verifier::Replay(TimelineId timeline, Txid image,
                                             const RestoreTarget& target, Damage* damage) {
  RestoreOptions options;
  options.output = "-";  // a temporary file, never published
  options.target = target;
  options.timeline = timeline;
  auto checked = Restorer(replica_, options, progress_).CheckOnly(image, damage);
  if (checked.ok()) {
    report_.commits += checked->commits_applied;
    report_.bytes += checked->bytes_fetched;
    return std::optional<Txid>(checked->plan.txid);
  }
  if (!IsDamage(checked.code()) || damage->key.empty()) {
    return checked.status();  // the store, the disk, our own memory
  }
  Find(damage->key, checked.status().message(), damage->missing);
  if (damage->image || !damage->best || *damage->best < image) {
    return std::optional<Txid>();
  }
  // What comes before the damage: proved as well, or not claimed.
  Damage again;
  options.target = *damage->best;
  auto before = Restorer(replica_, options, progress_).CheckOnly(image, &again);
  if (!before.ok()) {
    return IsDamage(before.code()) ? Result<std::optional<Txid>>(std::optional<Txid>())
                                   : Result<std::optional<Txid>>(before.status());
  }
  report_.commits += before->commits_applied;
  report_.bytes += before->bytes_fetched;
  return std::optional<Txid>(before->plan.txid);
}

// Each image is the start of a restore to the TXID of the next one (the last: to the end), in a
// file that is never published: then every commit was replayed, and every image compared with what
// the log before it leads to. Where an image is damaged, the one before it has to reach further.
Status Verifier::VerifyLine(TimelineId timeline, std::optional<Txid> to) {
  ASSIGN_OR_RETURN(const auto ancestry, Replica::Ancestry(timelines_, timeline));
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(auto images, ImagesOfHistory(replica_, ancestry, &problems));
  FindAll(problems);
  if (images.empty()) {
    const std::string line = "timeline " + std::to_string(timeline.value);
    Find(line, line + " has no complete image: nothing on it is restorable", /*missing=*/true);
  }
  if (to) {
    std::erase_if(images, [&](const ImageManifest& image) { return image.txid > *to; });
  }
  Txid shared;
  for (const auto& other : seen_) {
    shared = std::max(shared, SharedUntil(ancestry, other));
  }
  seen_.push_back(ancestry);
  size_t first = 0;
  while (first + 1 < images.size() && images[first + 1].txid <= shared) {
    ++first;
  }
  std::optional<Txid>
      base;  // the image that everything from it on was replayed from, without a hole
  for (size_t i = first; i < images.size(); ++i) {
    const Txid image = images[i].txid;
    const RestoreTarget target = i + 1 < images.size() ? RestoreTarget(images[i + 1].txid)
                                 : to                  ? RestoreTarget(*to)
                                                       : RestoreTarget(TargetLatest{});
    RETURN_IF_ERROR(VerifyHashes(images[i]));
    Damage damage;
    ASSIGN_OR_RETURN(std::optional<Txid> reached, Replay(timeline, image, target, &damage));
    Txid from = image;
    if (!reached && damage.image && base) {
      Damage from_older;
      ASSIGN_OR_RETURN(reached, Replay(timeline, *base, target, &from_older));
      from = *base;
    } else if (reached || !damage.image) {
      ++report_.images;
    }
    if (!reached) {
      base.reset();
      continue;
    }
    Reached(timeline, from, *reached);
    const bool whole = i + 1 == images.size() || *reached == images[i + 1].txid;
    base = whole ? std::optional<Txid>(from) : std::nullopt;
  }
  return Status::Ok();
}

Status Verifier::VerifyHashes(const ImageManifest& image) {
  const std::string key = keys::ImageHashes(image.timeline, image.txid, image.nonce);
  auto hashes = replica_.ReadImageHashes(image);
  if (hashes.ok()) {
    report_.bytes += image.hashes_size_bytes;
    uint64_t checksum = 0;
    for (const uint64_t hash : *hashes) {
      checksum ^= hash;
    }
    if (checksum != image.db_checksum) {
      Find(key, key + ": its hashes do not make up the image's checksum", false);
    }
    return Status::Ok();
  }
  if (!IsDamage(hashes.code())) {
    return hashes.status();
  }
  Find(key, hashes.status().message(), hashes.code() == StatusCode::kNotFound);
  return Status::Ok();
}

Status Verifier::VerifyMarks() {
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(const auto marks, replica_.ListMarks(&problems));
  FindAll(problems);
  for (const MarkDocument& mark : marks) {
    auto ancestry = Replica::Ancestry(timelines_, mark.timeline);
    const bool restorable =
        ancestry.ok() && std::any_of(report_.restorable.begin(), report_.restorable.end(),
                                     [&](const RestorableRange& range) {
                                       auto other = Replica::Ancestry(timelines_, range.timeline);
                                       return other.ok() && mark.txid >= range.first &&
                                              mark.txid <= range.last &&
                                              mark.txid <= SharedUntil(*ancestry, *other);
                                     });
    if (!restorable) {
      const std::string key = keys::Mark(mark.name);
      Find(key,
           key + ": names TXID " + FormatTxid(mark.txid) + " of timeline " +
               std::to_string(mark.timeline.value) + ", which is not restorable",
           /*missing=*/true);
    }
  }
  return Status::Ok();
}

}  // namespace

Result<VerifyReport> VerifyReplica(Replica& replica, const RestoreTarget& target,
                                   std::optional<TimelineId> timeline, Progress& progress) {
  Verifier verifier(replica, progress);
  RETURN_IF_ERROR(verifier.Start());
  std::optional<Txid> to;
  if (!std::holds_alternative<TargetLatest>(target)) {
    Damage damage;
    auto plan = PlanRestore(replica, target, {timeline, std::nullopt}, &damage);
    if (plan.ok()) {
      to = plan->txid;
      timeline = plan->timeline;
    } else if (damage.key.empty()) {
      return plan.status();  // else: the damage is found again below, with what it cuts off
    }
  }
  if (timeline) {
    RETURN_IF_ERROR(verifier.VerifyLine(*timeline, to));
  } else {
    // The newest first: what older ones share with it is then looked at once.
    for (auto line = verifier.timelines().rbegin(); line != verifier.timelines().rend(); ++line) {
      RETURN_IF_ERROR(verifier.VerifyLine(line->timeline, to));
    }
    if (!to) {
      RETURN_IF_ERROR(verifier.VerifyMarks());
    }
  }
  return verifier.TakeReport();
}

}  // namespace sqlite_s3
