#pragma once
// The engine's decisions as pure functions: when to cut a segment, make room in the WAL, ship an
// image, and what to do at a start. The loops that act on them are in engine_*.cc.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/ids.h"
#include "common/config/options.h"

namespace sqlite_s3 {

struct CutInputs {
  uint32_t commits = 0;        // in the segment under construction
  uint64_t bytes = 0;          // of it
  int64_t age_us = 0;          // since its first commit was captured
  int64_t paced_us = 0;        // until the request budget has one for the next segment
  bool uploader_idle = false;  // nothing on its way to the store
  bool waiter = false;         // somebody waits for durability, or we are stopping
  uint64_t spool_bytes = 0;
};
// kFull: it should be cut, but the spool has no room for it.
enum class CutDecision { kNo, kCut, kFull };
CutDecision DecideCut(const CutInputs& in, const ShipOptions& options);
// How long until age and budget alone would cut it; only meaningful while DecideCut says kNo.
int64_t MicrosUntilCut(const CutInputs& in, const ShipOptions& options);

struct ImageInputs {
  bool has_image = false;
  bool running = false;
  bool changed = false;      // a commit since the newest image
  uint64_t log_bytes = 0;    // shipped since it
  uint64_t image_bytes = 0;  // of it
  int64_t age_us = 0;        // of it
  bool over_budget = false;  // of requests: only the first one is made then
};
bool DecideImage(const ImageInputs& in, const ShipOptions& options);

// --- start
// -----------------------------------------------------------------------------------------
struct StartInputs {
  bool replica_is_new = false;
  bool ours = false;           // the state directory says that we wrote the head
  bool replica_empty = false;  // made, but without any segment yet
  uint64_t head_checksum = 0;
  uint32_t head_page_count = 0;
  uint64_t live_checksum = 0;
  uint32_t live_page_count = 0;
  bool tail_verified = false;  // the WAL after the head's place leads exactly to the live database
  std::optional<Txid> older;   // an older TXID with exactly the live database's checksum
  bool passed_head = false;    // a commit boundary in its WAL was exactly the head
  OnConflict on_conflict = OnConflict::kRefuse;
};
enum class StartAction {
  kOrigin,       // first commit of a new replica
  kContinue,     // the database is at the head
  kShipTail,     // it is at the head plus commits that the WAL still has
  kResync,       // ship what differs as one commit
  kNewTimeline,  // the bucket is ahead of the disk: go on from `older` on a new line
  kFork,         // as told: a new line beside the other one, from `older` or else the head
  kRefuse,
};
StartAction DecideStart(const StartInputs& in);

// How long after a start that failed, or a session that failed soon after it, the next one begins:
// `first`, then twice as long as `last`, the pause before. What is wrong with this machine (a full
// disk) may cost a reading of the whole database each time; a store that is away is asked first.
std::chrono::milliseconds NextRetryPause(std::chrono::milliseconds last,
                                         std::chrono::milliseconds first, bool local);

// The refusal's text with the ways on.
std::string RefusalMessage(const StartInputs& in, const std::string& replica);

}  // namespace sqlite_s3
