#pragma once
// Versions: what a write does to the versions of a key, and to the bodies that they refer to. Used
// inside one operation of a CommitQueue.

#include <cstdint>
#include <optional>
#include <string>

#include "server/storage/object.h"
#include "server/storage/rows.h"
#include "server/storage/session.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

// A new version id: `seq` and 64 random bits, 32 hex digits.
Result<std::string> NewVersionId(int64_t seq);
// What NewVersionId put in; 0 for ids of others.
int64_t SeqOfVersionId(std::string_view version_id);

// The version named, or the current one. Errors: those of Bucket::Head. Reads only.
StorageResult<ObjectRow> FindVersion(Session& session, const std::string& key,
                                     const std::optional<std::string>& version_id);
// The row of `object`, marker or not.
Result<std::optional<ObjectRow>> FindCurrent(Session& session, const std::string& key);
// A row of `old_version`.
Result<std::optional<ObjectRow>> FindOld(Session& session, const std::string& key,
                                         const std::string& version_id);
Result<Versioning> ReadVersioning(Session& session);

StorageStatus CheckConditions(const WriteConditions& conditions,
                              const std::optional<ObjectRow>& current, const std::string& key);

class Versions {
 public:
  // `last_seq` is the bucket's; `now_us` the time of what is written.
  Versions(Session& session, int64_t now_us, int64_t& last_seq)
      : session_(session), now_us_(now_us), last_seq_(last_seq) {}

  // Makes `row` the current version of its key, where `current` is now; sets its seq, version id
  // and time. True: the key has versions.
  Result<bool> Install(ObjectRow& row, const std::optional<ObjectRow>& current);
  // Removes one version for good; the next older one becomes current.
  Status Remove(const ObjectRow& row, bool is_current);
  StorageResult<DeleteResult> Delete(const DeleteRequest& request);

  // One object less refers to the body. The last one: it goes, at once when small, else by the
  // sweep
  // (`sweep_due` says so).
  Status Release(int64_t content);
  bool sweep_due() const { return sweep_due_; }

 private:
  Status MoveToOld(const std::string& key);
  Session& session_;
  const int64_t now_us_;
  int64_t& last_seq_;
  bool sweep_due_ = false;
};

}  // namespace sqlite_s3::server
