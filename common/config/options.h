#pragma once
// One validated struct from three spellings of one grammar: a replica URL's query, key=value pairs
// (s3_start's second argument, the C API's options string), and later a TOML table. An unknown or
// malformed key is kInvalidArgument naming it, its value, and what is allowed; nothing is ignored.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace sqlite_s3 {

enum class CommitDurability { kAsync, kCommit };
// What to do when the store is away and the spool is full.
enum class WhenFull {
  kGrowWal,  // stop checkpointing: the WAL grows until the store is back
  kResync,   // let go of the history: checkpoint, and ship the difference as one commit later
  kBlock,    // hold commits (at most commit_timeout each) until there is room
};
// What to do when the replica is not plainly ours to append to (docs/OPERATIONS.md, ownership).
enum class OnConflict { kRefuse, kTakeOver, kFork };

// What of the application's SQL is shipped beside the pages (docs/OPERATIONS.md, statements).
enum class StatementLevel {
  kOff,     // nothing; no trace callback is installed
  kText,    // statements with literals redacted and without parameter values: to read and search
  kValues,  // statements with their values: to execute again
};

struct ShipOptions {
  std::chrono::milliseconds interval{1000};  // interval=1s; 0 = as soon as the last upload is done
  CommitDurability durability = CommitDurability::kAsync;  // durability=async|commit
  std::chrono::milliseconds commit_timeout{
      30'000};                                     // commit_timeout=30s; longest wait of one commit
  std::chrono::milliseconds close_timeout{5'000};  // close_timeout=5s; bound of the flush at close
  uint32_t checkpoint_pages = 0;  // checkpoint=1000; 0 = the connection's own setting
  bool write_lock = true;  // write_lock=auto|never; hold writers off when they outrun checkpoints
  std::chrono::milliseconds write_lock_hold{50};  // write_lock_hold=50ms; longest time of one
  uint64_t segment_bytes = 4 << 20;               // segment_size=4MiB; cut at this size
  uint64_t memory_bytes = 24 << 20;          // memory=24MiB; captured pages waiting for encoding
  uint64_t spool_bytes = uint64_t{1} << 30;  // spool=1GiB; encoded segments waiting for the store
  WhenFull when_full = WhenFull::kGrowWal;   // when_full=grow-wal|resync|block
  int compression_level = 3;                 // compression=1..19
  int image_log_percent = 100;  // image_log_percent=100; an image when the log since the last one
                                // is larger than this share of it (and 8 MiB); 0 = never for size
  std::chrono::milliseconds image_interval{24 * 3600 *
                                           1000};  // image_interval=24h; 0 = never for age
  std::string state_dir;                           // state_dir=PATH; default "<db>-s3"
  OnConflict on_conflict = OnConflict::kRefuse;    // on_conflict=refuse|take-over|fork
  bool require_fencing =
      true;                 // require_fencing=on|off; off: ship to a store without conditional put
  bool attach_all = false;  // attach=all|this; every connection of the process to this database
  std::chrono::milliseconds alarm_after{5 * 60 * 1000};  // alarm_after=5m; the agent's
  uint64_t upload_rate = 0;     // upload_rate=1MiB; bytes a second to the store; 0 = no limit
  uint64_t request_rate = 0;    // request_rate=10; requests a second to it; 0 = no limit
  uint64_t request_budget = 0;  // request_budget=100000; PUTs a calendar month; 0 = no budget
  StatementLevel statements = StatementLevel::kOff;  // statements=off|text|values
  // statements_exclude=NAME:NAME; a statement that names one of them (with * and ?) is left out
  std::string statements_exclude;
  bool operator==(const ShipOptions&) const = default;
};

// Where a replica is. scheme "file" (path), "s3" (bucket, prefix) or "memory" (name, tests only).
struct ReplicaLocation {
  std::string scheme;
  std::string path;    // file: absolute directory, symlinks not resolved
  std::string bucket;  // s3
  std::string prefix;  // s3, without leading or trailing '/'
  std::string name;    // memory
  // store options (all of them for s3; none for file). Credentials are never among them.
  std::string endpoint;
  std::string region;
  std::string client;                                 // client=libcurl|libs3
  std::string addressing = "auto";                    // addressing=auto|path|virtual
  std::string checksum = "crc32c";                    // checksum=crc32c|sha256|off
  std::string ca_file;                                // ca_file=PATH
  std::string profile;                                // profile=NAME
  std::string sse;                                    // sse=AES256|aws:kms
  std::string sse_kms_key_id;                         // sse_kms_key_id=ID
  std::string sse_c_key_file;                         // sse_c_key_file=PATH; 32 bytes
  std::string storage_class;                          // storage_class=STANDARD_IA
  std::string tags;                                   // tags=name=value&name=value
  std::chrono::milliseconds connect_timeout{10'000};  // connect_timeout=10s
  std::chrono::milliseconds request_timeout{30'000};  // request_timeout=30s
  uint64_t part_bytes = 16 << 20;                     // part_size=16MiB
  int upload_parallelism = 4;                         // upload_parallelism=4
  bool operator==(const ReplicaLocation&) const = default;
};

struct ReplicaConfig {
  ReplicaLocation location;
  ShipOptions ship;
};

// "file:///var/backups/app", "file:relative/dir" (made absolute against the working directory),
// "s3://bucket/prefix?endpoint=...", "memory:name", a plain path that starts with '/' or './'.
// Query keys are percent-decoded; `options` is "key=value" pairs separated by ',' ';' '&' or white
// space and wins over the query. Errors never print values of keys that may hold secrets.
Result<ReplicaConfig> ParseReplicaConfig(std::string_view url, std::string_view options = {});
// With `defaults` in place of the built-in ones; of its location only the store options count, and
// those for s3 replicas only.
Result<ReplicaConfig> ParseReplicaConfig(std::string_view url, std::string_view options,
                                         const ReplicaConfig& defaults);
// `url`'s address with config's store options as its query, for a program that only reads.
std::string FormatReplicaUrl(std::string_view url, const ReplicaConfig& config);

// "250ms", "1s", "5m", "2h", "7d", or a plain number of milliseconds; "64KiB", "4MiB", "1GiB",
// "10MB" or plain bytes. kInvalidArgument naming the text.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);
Result<uint64_t> ParseByteSize(std::string_view text);

// Every ship option as "key=value", one a line, defaults included: check-config and docs tests.
std::string FormatShipOptions(const ShipOptions& options);

}  // namespace sqlite_s3
