#pragma once
// A read-only view of the wal-index through SQLite's own mapping: the truth about what is committed
// (sqlite.org/walformat.html, section 2). We never open the -shm file: closing our descriptor would
// drop the application's POSIX locks.

#include <cstdint>
#include <optional>
#include <string>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/sqlite/sqlite_api.h"
#include "common/sqlite/wal_format.h"

namespace sqlite_s3 {

struct WalIndexHeader {
  uint32_t change = 0;  // counts transactions
  bool big_endian_words = false;
  uint32_t page_size = 0;
  uint32_t max_frame = 0;      // mxFrame: last committed frame; frames after it may be anything
  uint32_t page_count = 0;     // of the database
  WalChecksum frame_checksum;  // running checksum at max_frame
  uint32_t salt1 = 0;
  uint32_t salt2 = 0;
};

// Valid while `db` is open, has read the database at least once, and holds a transaction or at
// least stays open (SQLite keeps the mapping until close). One thread at a time.
class WalIndexView {
 public:
  WalIndexView() = default;
  // kFailedPrecondition when the VFS has no shared memory or the database is not in WAL mode.
  static Result<WalIndexView> Attach(sqlite3* db);

  // A consistent copy of the header: two copies must agree and the checksum hold; nullopt when that
  // does not come true within a bounded number of tries (a crashed writer, a recovery going on).
  std::optional<WalIndexHeader> ReadHeader() const;
  // Racy single loads, for hints on hot paths.
  uint32_t PeekMaxFrame() const;
  uint32_t PeekSalt1() const;
  uint32_t PeekSalt2() const;
  // How many frames are in the database file.
  uint32_t BackfilledFrames() const;
  // How many a checkpoint has begun to put there: the same, except after it went wrong.
  uint32_t BackfillAttemptedFrames() const;
  // Whether the checkpoint that is running, if one is, has begun to copy, and waits for no reader
  // before it has. One that failed leaves word of it, too.
  bool CheckpointMayCopy() const { return BackfillAttemptedFrames() != BackfilledFrames(); }
  // Whether a connection, of any process, is in a checkpoint now. Takes that lock for an instant.
  bool CheckpointIsRunning() const { return IsTaken(kCheckpointLock); }
  // The same of a writer. A connection without a busy timeout that asks in that instant is refused.
  bool WriteLockIsTaken() const { return IsTaken(kWriteLock); }
  // The same, and no lock is taken, for however short: of other processes only. By SQLite's own
  // descriptor of the shared memory, which is at `shm_path`. False when that cannot be found.
  static bool AnotherProcessWrites(const std::string& shm_path);
  // Whether a reader's slot (other than 0) is marked with this frame. A mark outlives its reader.
  bool HasReadMark(uint32_t frame) const;
  // A lock on a reader's slot that is not marked. As long as it is held nobody resets the WAL, as
  // with any reader there, and no FULL checkpoint waits for it: none looks at a slot without a
  // mark. A RESTART or TRUNCATE waits, once all is backfilled. nullopt: every slot is marked.
  // REQUIRES: the connection of Attach has no transaction before the slot is let go.
  std::optional<int> HoldUnmarkedSlot() const;
  void LetGoOfSlot(int slot) const;
  // The page number that the index has for `frame` (from 1); 0 when it cannot be read.
  PageNumber PageOfFrame(uint32_t frame);
  // Reads the database file through SQLite's own descriptor: short reads past the end are zeroes.
  Status ReadDatabaseFile(uint64_t offset, std::span<uint8_t> out) const;
  Result<uint64_t> DatabaseFileSize() const;
  // Gives the memory that this process sees the index in back; the next look maps it again. What
  // the index says is in the file, and stays as it is.
  void Unmap() const;

 private:
  // walformat section 2.3.1
  static constexpr int kWriteLock = 0;
  static constexpr int kCheckpointLock = 1;
  static constexpr int kFirstSlotLock = 3;
  static constexpr int kSlots = 5;
  bool IsTaken(int lock) const;

  sqlite3_file* file_ = nullptr;
  const volatile uint32_t* map_ = nullptr;  // first 32 KiB
};

}  // namespace sqlite_s3
