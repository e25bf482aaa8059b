#include "agent/daemon/live_state.h"

#include <optional>
#include <unordered_map>

#include "common/base/bytes.h"
#include "common/sqlite/connection.h"
#include "common/sqlite/wal_file.h"
#include "common/sqlite/wal_index.h"

namespace sqlite_s3 {
namespace {

constexpr int kBusyTimeoutMs = 1000;
constexpr int kMostTries = 1000;

bool SameState(const WalIndexHeader& a, const WalIndexHeader& b) {
  return a.change == b.change && a.max_frame == b.max_frame && a.salt1 == b.salt1 &&
         a.salt2 == b.salt2;
}

}  // namespace

Result<LiveState> ReadLiveState(const std::string& path, const PageHasher& hasher) {
  ASSIGN_OR_RETURN(Connection db,
                   Connection::Open(path, SQLITE_OPEN_READWRITE, "", kBusyTimeoutMs));
  RETURN_IF_ERROR(db.QueryInt("SELECT count(*) FROM sqlite_schema").status());
  ASSIGN_OR_RETURN(WalIndexView index, WalIndexView::Attach(db.get()));
  // The transaction's state is the one that was there before it and after it.
  std::optional<WalIndexHeader> state;
  uint32_t backfilled = 0;
  for (int i = 0; i < kMostTries && !state; ++i) {
    const auto before = index.ReadHeader();
    RETURN_IF_ERROR(db.Exec("BEGIN"));
    RETURN_IF_ERROR(db.QueryInt("SELECT count(*) FROM sqlite_schema").status());
    // Nobody may backfill what this transaction does not see; what it sees may go on being
    // backfilled, which changes no page's content.
    backfilled = index.BackfilledFrames();
    const auto after = index.ReadHeader();
    if (before && after && SameState(*before, *after)) {
      state = after;
    } else {
      RETURN_IF_ERROR(db.Exec("END"));
    }
  }
  if (!state) {
    return UnavailableError("database '" + path + "' changes too fast to be looked at");
  }
  // With frames that are not backfilled the transaction holds the WAL as it is. Without, the file
  // alone is the database, and the WAL may begin anew at any time.
  std::unordered_map<PageNumber, uint32_t> frames;
  std::optional<WalFile> wal;
  if (backfilled < state->max_frame) {
    for (uint32_t frame = 1; frame <= state->max_frame; ++frame) {
      frames[index.PageOfFrame(frame)] = frame;
    }
    ASSIGN_OR_RETURN(WalFile opened, WalFile::Open(path + "-wal"));
    wal = std::move(opened);
  }
  LiveState live;
  ASSIGN_OR_RETURN(const int64_t page_size, db.QueryInt("PRAGMA page_size"));
  live.page_size = static_cast<uint32_t>(page_size);
  // What the next commit starts from. PRAGMA page_count is what the header says, and a file may be
  // larger than that (SQLITE_FCNTL_CHUNK_SIZE).
  live.page_count = state->page_count;
  if (state->page_count == 0) {  // no commit since the WAL was made
    ASSIGN_OR_RETURN(const uint64_t size, index.DatabaseFileSize());
    live.page_count = static_cast<uint32_t>(size / live.page_size);
  }
  Bytes page(live.page_size);
  for (PageNumber number = 1; number <= live.page_count; ++number) {
    if (number == LockBytePage(live.page_size)) {
      continue;
    }
    const auto at = frames.find(number);
    if (at != frames.end()) {
      RETURN_IF_ERROR(wal->ReadPage(at->second, live.page_size, page));
    } else {
      RETURN_IF_ERROR(index.ReadDatabaseFile(uint64_t{number - 1} * live.page_size, page));
    }
    live.checksum ^= hasher.Hash(number, page);
  }
  RETURN_IF_ERROR(db.Exec("END"));
  return live;
}

}  // namespace sqlite_s3
