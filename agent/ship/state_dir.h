#pragma once
// StateDir: "<db>-s3/", what one shipper of one database remembers between runs. Everything here is
// a cache or an identity; losing it costs work or asks for a decision, never data.
//
//   lock        held (OFD) by the process that ships
//   identity    who we are: writer id, replica, fenced or not; JSON, replaced in one step
//   shared      SharedBlock
//   image.object, image.hashes   of an image that waits for the store
//   requests    RequestBudget: what was spent this month
//   hashes, hashes.undo.N, hashes.scan   PageHashes
//   spool/      Spool: frozen bytes on their way to the store

#include <optional>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/os/file_lock.h"

namespace sqlite_s3 {

struct Identity {
  WriterId writer;
  DatabaseId database_id;  // of the replica
  std::string replica;     // ObjectStore::Describe()
  TimelineId timeline;     // the line we append to
  std::string fenced;      // why we may not append any more; empty: we may
};

class StateDir {
 public:
  // Creates the directory (0700) if absent. kFailedPrecondition when it belongs to somebody else.
  static Result<StateDir> Open(const std::string& path);

  // True when this process is now (or already was) the one that ships. Makes the directory anew if
  // it is gone. kFailedPrecondition: what is there as `lock` is no file.
  Result<bool> TryLock();
  // kNotFound when the lock that is held is not the one that others find any more: the directory
  // was removed or replaced, and what is there may be another process's. REQUIRES: locked().
  Status CheckInPlace() const;
  void Unlock() { lock_.reset(); }
  bool locked() const { return lock_.has_value(); }

  // nullopt: there is none, or it was copied here from another place: a copied state directory must
  // not make a copied database the owner of the original's replica. Told apart by the directory's
  // inode number and the machine's id, both kept in the file.
  Result<std::optional<Identity>> LoadIdentity();
  Status SaveIdentity(const Identity& identity);

  std::string path(const char* name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  Result<std::string> Place() const;
  std::string path_;
  std::optional<FileLock> lock_;
};

}  // namespace sqlite_s3
