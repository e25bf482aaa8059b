// Maintenance: writing the WAL back, sweeping bodies, giving pages back to the filesystem. Each
// step is short and goes through the writers' queue like anybody else.

#include "server/storage/bucket_impl.h"

namespace sqlite_s3::server {
namespace {

constexpr int kChunksPerStep = 8;
constexpr int kPagesPerVacuum = 256;
// Free pages are kept for the next objects up to this many, or a quarter of the file.
constexpr int64_t kFreePagesKept = 4096;
constexpr int kBusyTimeoutMs = 5000;
// How long a checkpoint may hold the writers to wait for readers of ours, which take milliseconds.
constexpr int kReaderWaitMs = 20;

}  // namespace

StorageStatus BucketImpl::Maintain() {
  if (queue_ == nullptr) {
    return {};
  }
  if (wal_pages_.load(std::memory_order_relaxed) >= options_.checkpoint_pages) {
    RETURN_IF_STORAGE_ERROR(Checkpoint());
  }
  if (sweep_due_.exchange(false, std::memory_order_relaxed)) {
    StorageStatus swept = Sweep();
    if (!swept.ok()) {
      sweep_failed_.store(true,
                          std::memory_order_relaxed);  // the next write that works tries again
    }
    return swept;
  }
  return {};
}

StorageStatus BucketImpl::Sweep() {
  for (bool more = true; more;) {
    RETURN_IF_STORAGE_ERROR(SweepOne(&more));
    if (wal_pages_.load(std::memory_order_relaxed) >= options_.checkpoint_pages) {
      RETURN_IF_STORAGE_ERROR(Checkpoint());
    }
  }
  for (bool more = true; more;) {
    RETURN_IF_STORAGE_ERROR(VacuumStep(&more));
    if (wal_pages_.load(std::memory_order_relaxed) >= options_.checkpoint_pages) {
      RETURN_IF_STORAGE_ERROR(Checkpoint());
    }
  }
  return {};
}

StorageStatus BucketImpl::Checkpoint() {
  return queue_->RunAlone([&](Session& session) -> StorageStatus {
    sqlite3* db = session.connection().get();
    // The next commit can only begin the WAL anew when no reader is in it. Passing readers can hold
    // that off for ever, so beyond four times the threshold they are waited for, a little.
    bool large = wal_pages_.load(std::memory_order_relaxed) >= 4 * options_.checkpoint_pages;
    int log = 0;
    int done = 0;
    sqlite3_busy_timeout(db, kReaderWaitMs);
    int rc = sqlite3_wal_checkpoint_v2(
        db, nullptr, large ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &log, &done);
    Status status = SqliteStatus(rc, "cannot write the WAL back", db);
    sqlite3_busy_timeout(db, kBusyTimeoutMs);
    checkpoints_.fetch_add(1, std::memory_order_relaxed);
    if ((rc & 0xff) == SQLITE_BUSY) {
      return {};  // a reader from outside, perhaps: the next commit asks again
    }
    if (status.ok() && log == done) {
      wal_pages_.store(0, std::memory_order_relaxed);
    }
    return status;
  });
}

StorageStatus BucketImpl::SweepOne(bool* more) {
  *more = false;
  int64_t content = 0;
  {
    ASSIGN_OR_RETURN(auto session, Reader());
    SqlQuery query = session->Use("SELECT content FROM unreferenced ORDER BY content");
    while (true) {
      ASSIGN_OR_RETURN(bool row, query.Step());
      if (!row) {
        return {};
      }
      if (pins_.BeginSweep(query.Int(0))) {
        content = query.Int(0);
        break;
      }
    }
  }
  StorageStatus status;
  bool gone = false;
  while (status.ok() && !gone) {
    status = Write(size_t{1} << 20, [&](Session& session) -> StorageStatus {
      gone = false;
      // Published since the list was read?
      SqlQuery still = session.Use("SELECT 1 FROM unreferenced WHERE content = ?");
      ASSIGN_OR_RETURN(bool unreferenced, still.Bind(1, content).Step());
      if (!unreferenced) {
        gone = true;
        return {};
      }
      RETURN_IF_STORAGE_ERROR(
          session
              .Use("DELETE FROM chunk WHERE content = ?1 AND offset IN "
                   "(SELECT offset FROM chunk WHERE content = ?1 ORDER BY offset LIMIT ?2)")
              .Bind(1, content)
              .Bind(2, int64_t{kChunksPerStep})
              .Run());
      if (session.Changes() == kChunksPerStep) {
        return {};
      }
      gone = true;
      // The parts of it have no other owner: they are next, large ones and small ones.
      for (const char* sql :
           {"INSERT OR IGNORE INTO unreferenced SELECT part FROM content_part WHERE content = ?1 "
            "AND part IS NOT NULL",
            "DELETE FROM content_part WHERE content = ?1", "DELETE FROM content WHERE id = ?1",
            "DELETE FROM unreferenced WHERE content = ?1"}) {
        RETURN_IF_STORAGE_ERROR(session.Use(sql).Bind(1, content).Run());
      }
      return {};
    });
    if (wal_pages_.load(std::memory_order_relaxed) >= options_.checkpoint_pages) {
      (void)Checkpoint();  // the next one says it again
    }
  }
  pins_.EndSweep(content);
  if (status.ok()) {
    swept_.fetch_add(1, std::memory_order_relaxed);
    *more = true;
  }
  return status;
}

StorageStatus BucketImpl::VacuumStep(bool* more) {
  return queue_->RunAlone([&](Session& session) -> StorageStatus {
    ASSIGN_OR_RETURN(int64_t free, session.connection().QueryInt("PRAGMA freelist_count"));
    ASSIGN_OR_RETURN(int64_t all, session.connection().QueryInt("PRAGMA page_count"));
    *more = free > std::max(kFreePagesKept, all / 4);
    if (!*more) {
      return {};
    }
    static_assert(kPagesPerVacuum == 256);
    RETURN_IF_STORAGE_ERROR(session.Exec("PRAGMA incremental_vacuum(256)"));
    // A file without the page map (auto_vacuum off, not made here) never shrinks this way.
    ASSIGN_OR_RETURN(int64_t left, session.connection().QueryInt("PRAGMA freelist_count"));
    *more = left < free;
    return {};
  });
}

}  // namespace sqlite_s3::server
