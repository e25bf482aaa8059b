// How a session starts: who we are, what the store has, and how the database compares with it.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "agent/ship/engine_impl.h"

namespace sqlite_s3 {
namespace {

constexpr uint64_t kMaxSpooledSegmentBytes = kMaxSegmentBytes;

Result<uint64_t> RandomU64() {
  uint8_t bytes[8];
  RETURN_IF_ERROR(FillRandom(bytes));
  return LoadLe64(bytes);
}

Status DeniedError(const std::string& store) {
  return UnavailableError("replica " + store + ": the store has " + keys::Replica() +
                          ", and said that it had not");
}

}  // namespace

// The line we append to: the one in our identity, or a line of ours that left it: just before a
// crash, or after the state directory was put back to what it had been.
Result<TimelineId> EngineImpl::OurTimeline(const std::vector<TimelineDocument>& timelines) {
  TimelineId at = identity_.timeline;
  for (bool moved = true; moved;) {
    moved = false;
    for (const TimelineDocument& line : timelines) {
      if (line.parent == at && line.writer == identity_.writer) {
        at = line.timeline;
        moved = true;
      } else if (line.parent == at && line.supersedes_parent) {
        return AbortedError("timeline " + FormatTimeline(at) + " was left for timeline " +
                            FormatTimeline(line.timeline) + " by another writer");
      }
    }
  }
  return at;
}

// A store that denies for a moment what it has must not make us begin anew, as strangers to it:
// where we have `been_there`, it is asked in another way, too.
Status EngineImpl::OpenReplica(bool been_there) {
  Status opened = replica_->Open();
  if (opened.code() != StatusCode::kNotFound || !been_there) {
    return opened;
  }
  const auto listed = patient_store_->List(keys::Replica(), "", 1);
  if (!listed.ok() || listed->empty()) {
    return opened;
  }
  opened = replica_->Open();
  return opened.code() == StatusCode::kNotFound ? DeniedError(config_.store->Describe()) : opened;
}

Status EngineImpl::OpenSession() {
  if (const Status opened = budget_.Open(state_dir_.path("requests")); !opened.ok()) {
    Log(LogLevel::kWarning, "the request budget begins anew: " + opened.ToString());
  }
  ASSIGN_OR_RETURN(std::optional<Identity> known, state_dir_.LoadIdentity());
  if (!known) {
    known = shipped_as_;  // the directory was taken away, but we know who we are
  }
  const bool told = config_.options.on_conflict != OnConflict::kRefuse && !conflict_resolved_;
  const std::string name = config_.store->Describe();
  if (known && !known->fenced.empty() && known->replica == name && !told) {
    return AbortedError(
        "shipping to " + name + " is fenced: " + known->fenced +
        ", hint: find out which writer is right, then start once with on_conflict=take-over or "
        "on_conflict=fork, or use another replica");
  }
  if (!config_.store->SupportsConditionalPut()) {
    if (config_.options.require_fencing) {
      return FailedPreconditionError("the store " + name +
                                     " has no create-if-absent, so two writers could not be kept "
                                     "apart, hint: require_fencing=off accepts that");
    }
    Log(LogLevel::kWarning, "fencing is off: " + name + " has no create-if-absent");
  }

  replica_ = std::make_unique<Replica>(*patient_store_);
  Status opened = OpenReplica(known && known->replica == name);
  replica_is_new_ = opened.code() == StatusCode::kNotFound;
  if (!opened.ok() && !replica_is_new_) {
    return opened.WithContext("replica " + name);
  }
  ours_ = known && known->replica == name && !replica_is_new_ && known->fenced.empty() &&
          known->database_id == replica_->document().database_id;
  if (ours_) {
    identity_ = *known;
  } else {
    ASSIGN_OR_RETURN(uint64_t writer, RandomU64());
    identity_ = Identity{{writer}, {}, name, {1}, ""};
  }

  std::optional<WalPosition> resume;
  head_ = Head{};
  std::optional<ImageManifest> newest_image;
  if (!replica_is_new_) {
    identity_.database_id = replica_->document().database_id;
    ASSIGN_OR_RETURN(timelines_, replica_->ListTimelines());
    auto line = ours_ ? OurTimeline(timelines_) : Replica::LatestTimeline(timelines_);
    if (line.code() == StatusCode::kAborted) {
      ours_ = false;
      line = Replica::LatestTimeline(timelines_);
    }
    if (!line.ok()) {
      return line.status().WithContext("replica " + name);
    }
    timeline_ = *line;
    ASSIGN_OR_RETURN(head_, replica_->FindHead(timelines_, timeline_));
    if (ours_ && head_.txid && head_.timeline == timeline_ && !head_.segment_key.empty() &&
        head_.writer != identity_.writer) {
      ours_ = false;  // somebody went on from where we were
    }
    if (!ours_) {
      ASSIGN_OR_RETURN(uint64_t writer, RandomU64());
      identity_.writer = {writer};
    }
    ASSIGN_OR_RETURN(auto ancestry, Replica::Ancestry(timelines_, timeline_));
    for (const auto& ancestor : ancestry) {
      ASSIGN_OR_RETURN(auto images, replica_->ListImages(ancestor.timeline));
      for (ImageManifest& image : images) {
        if (!ancestor.last || image.txid <= *ancestor.last) {
          newest_image = std::move(image);
        }
      }
    }
  } else {
    timeline_ = {1};
  }
  NoteImage(newest_image);
  ASSIGN_OR_RETURN(auto spool, Spool::Open(state_dir_.path("spool")));
  {
    std::lock_guard lock(capture_mutex_);  // GetStatus looks at it
    spool_ = std::move(spool);
  }
  {
    // Who waits asks again: the TXIDs of an earlier session that never left may be given anew.
    std::lock_guard lock(state_mutex_);
    pending_syncs_.clear();
    lag_.clear();
  }
  acked_txid_ = head_.txid.value;
  spool_full_ = false;
  (*shared_)->full = 0;
  if (ours_) {
    RETURN_IF_ERROR(ReconcileSpool(&head_));
    resume = head_.wal.frame != 0 ? std::optional(head_.wal) : std::nullopt;
  } else {
    RETURN_IF_ERROR(spool_->Clear());
  }

  WalCapture::Config capture_config;
  capture_config.database_path = config_.database_path;
  capture_config.vfs = config_.vfs;
  capture_config.join_only = config_.join_only;
  capture_config.close_spare = config_.pool != nullptr;  // where databases are many
  capture_config.may_lock_writers = config_.options.write_lock;
  capture_config.account = &account_;
  capture_config.cache_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(config_.options.memory_bytes / 4, 6 << 20));
  capture_config.big_commit_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(config_.options.memory_bytes / 3, 64 << 20));
  {
    std::lock_guard lock(capture_mutex_);
    ASSIGN_OR_RETURN(capture_, WalCapture::Open(capture_config, resume));
    // A hook may capture before the scan begins: what it finds belongs to the tail.
    mode_ = capture_->resumed() ? CaptureMode::kTentative : CaptureMode::kDrop;
    queue_.clear();
    gap_ = false;
  }
  if (capture_->page_count() == 0) {
    return FailedPreconditionError("database '" + config_.database_path + "' is empty");
  }
  if (!replica_is_new_ && replica_->document().page_size != capture_->page_size()) {
    return FailedPreconditionError(fmt::format(
        "replica {} has page size {}, the database {}, hint: a database whose page size changed "
        "needs a replica of its own",
        name, replica_->document().page_size, capture_->page_size()));
  }
  if (replica_is_new_) {
    const auto watch = WatchPin(PinWatch::kWhileAsked);
    ReplicaDocument document;
    RETURN_IF_ERROR(FillRandom(document.database_id.bytes));
    RETURN_IF_ERROR(FillRandom(document.checksum_key.bytes));
    document.page_size = capture_->page_size();
    document.created_us = Now();
    identity_.database_id = document.database_id;
    identity_.timeline = timeline_;
    // Known here before it exists there: after a crash in between, the empty replica is still ours.
    RETURN_IF_ERROR(state_dir_.SaveIdentity(identity_));
    Status created = replica_->Create(document, identity_.writer);
    if (!created.ok() && created.code() != StatusCode::kAlreadyExists) {
      return created.WithContext("replica " + name);
    }
    RETURN_IF_ERROR(replica_->Open());
    if (replica_->document().database_id != document.database_id) {
      if (known && known->replica == name &&
          known->database_id == replica_->document().database_id) {
        RETURN_IF_ERROR(state_dir_.SaveIdentity(*known));
        return DeniedError(name);
      }
      return created.WithContext("replica " + name);  // somebody else was first
    }
    ASSIGN_OR_RETURN(timelines_, replica_->ListTimelines());
    ours_ = true;
  }
  files_ = FileTimes({config_.database_path, config_.database_path + "-wal", state_dir_.path()});
  hasher_.emplace(replica_->document().checksum_key);
  ASSIGN_OR_RETURN(hashes_, PageHashes::Open(state_dir_.path()));
  // The shared block outlives a killed process: what it told may be more than what it shipped.
  told_txid_ = ours_ && !replica_is_new_ && (*shared_)->timeline == timeline_.value
                   ? (*shared_)->captured_txid.load()
                   : 0;
  (*shared_)->captured_txid = told_txid_;
  (*shared_)->timeline = timeline_.value;
  return Status::Ok();
}

void EngineImpl::NoteImage(const std::optional<ImageManifest>& image) {
  std::lock_guard lock(image_mutex_);
  has_image_ = image.has_value();
  image_txid_ = {};
  if (!image) {
    return;
  }
  image_txid_ = image->txid;
  image_made_us_ = image->created_us;
  image_bytes_ = 0;
  for (const ImagePartInfo& part : image->parts) {
    image_bytes_ += part.size_bytes;
  }
}

// Nothing in the spool is synced: after a power loss a part may be torn, and its segment whole.
// What is not in the spool any more is in the store, unless it was lost like that.
Result<bool> EngineImpl::HasItsParts(const Segment& segment,
                                     const std::map<std::string, SpoolItem>& spooled) {
  for (const CommitRecord& commit : segment.commits) {
    for (const PartRef& ref : commit.parts) {
      const std::string key = keys::Part(timeline_, ref.nonce, ref.number);
      const auto at = spooled.find(key);
      if (at == spooled.end()) {
        auto stored = patient_store_->Head(key);
        if (stored.code() == StatusCode::kNotFound) {
          return false;
        }
        RETURN_IF_ERROR(stored.status());
        if (stored->size_bytes != ref.size_bytes) {
          return false;
        }
        continue;
      }
      auto bytes = spool_->Read(at->second);
      if (!bytes.ok() || ComputeDigest(*bytes) != ref.digest) {
        return false;
      }
    }
  }
  return true;
}

// What a former process of ours froze but did not see answered. Segments that go on from the head
// are kept and become the head; what the store has already, or what fits nothing, goes.
Status EngineImpl::ReconcileSpool(Head* head) {
  Spool* old = spool_.get();
  bool fits = true;
  size_t keep = 0;
  size_t seen = 0;
  std::vector<SpoolItem> items = old->Items();
  size_t drop_front = 0;
  std::map<std::string, SpoolItem> parts;  // that come before the segment
  for (const SpoolItem& item : items) {
    ++seen;
    if (!item.is_segment) {
      parts.try_emplace(item.key, item);
    }
    if (!item.is_segment || !fits) {
      continue;
    }
    auto bytes = old->Read(item);
    if (!bytes.ok()) {
      fits = false;
      continue;
    }
    auto segment = ParseSegment(std::move(bytes).value(), item.key);
    if (!segment.ok() || segment->header.database_id != identity_.database_id ||
        segment->object_size_bytes > kMaxSpooledSegmentBytes) {
      fits = false;
      continue;
    }
    if (segment->header.last_txid() <= head->txid && keep == 0) {
      drop_front = seen;  // answered after all
      continue;
    }
    if (segment->header.timeline != timeline_ || segment->header.writer != identity_.writer ||
        segment->header.first_txid != head->txid.Next() ||
        segment->header.predecessor != head->digest) {
      fits = false;
      continue;
    }
    ASSIGN_OR_RETURN(fits, HasItsParts(*segment, parts));
    if (!fits) {
      Log(LogLevel::kWarning, item.key + " of an earlier run has lost a part: what it had is " +
                                  "compared and shipped again");
      continue;
    }
    keep = seen;
    head->timeline = timeline_;
    head->txid = segment->header.last_txid();
    head->digest = segment->digest;
    head->writer = identity_.writer;
    head->page_count = segment->commits.back().page_count;
    head->db_checksum = segment->commits.back().db_checksum;
    head->commit_time_us = segment->commits.back().time_us;
    head->wal = segment->header.end;
    head->segment_key = item.key;
  }
  if (keep == 0) {
    RETURN_IF_ERROR(old->Clear());
  } else {
    for (size_t i = 0; i < drop_front; ++i) {
      RETURN_IF_ERROR(old->Pop());
    }
    RETURN_IF_ERROR(old->DropAfter(keep - drop_front));
    Log(LogLevel::kInfo,
        fmt::format("{} objects of an earlier run are still to be shipped", keep - drop_front));
  }
  return Status::Ok();
}

}  // namespace sqlite_s3
