#include "common/config/option_table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "common/config/misspelling.h"
#include "common/config/option_texts.h"
#include "common/config/option_values.h"

namespace sqlite_s3 {
namespace {

constexpr int64_t kSecond = 1000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kGiB = 1024 * kMiB;
constexpr int64_t kTiB = 1024 * kGiB;

constexpr std::array kDurabilityWords = {
    Word<CommitDurability>{"async", CommitDurability::kAsync},
    Word<CommitDurability>{"commit", CommitDurability::kCommit}};
constexpr std::array kWhenFullWords = {Word<WhenFull>{"grow-wal", WhenFull::kGrowWal},
                                       Word<WhenFull>{"resync", WhenFull::kResync},
                                       Word<WhenFull>{"block", WhenFull::kBlock}};
constexpr std::array kOnConflictWords = {Word<OnConflict>{"refuse", OnConflict::kRefuse},
                                         Word<OnConflict>{"take-over", OnConflict::kTakeOver},
                                         Word<OnConflict>{"fork", OnConflict::kFork}};
constexpr std::array kSwitchWords = {Word<bool>{"on", true}, Word<bool>{"off", false}};
constexpr std::array kWriteLockWords = {Word<bool>{"auto", true}, Word<bool>{"never", false}};
constexpr std::array kStatementWords = {Word<StatementLevel>{"off", StatementLevel::kOff},
                                        Word<StatementLevel>{"text", StatementLevel::kText},
                                        Word<StatementLevel>{"values", StatementLevel::kValues}};
constexpr std::array kAttachWords = {Word<bool>{"all", true}, Word<bool>{"this", false}};

constexpr auto kClientWords = TextWords("libcurl", "libs3");
constexpr auto kAddressingWords = TextWords("auto", "path", "virtual");
constexpr auto kChecksumWords = TextWords("crc32c", "sha256", "off");
constexpr auto kSseWords = TextWords("AES256", "aws:kms");

using S = ShipOptions;
using L = ReplicaLocation;
constexpr OptionKind kShip = OptionKind::kShip;
constexpr OptionKind kStore = OptionKind::kStore;

constexpr OptionDescriptor kTable[] = {
    {"interval", kShip, "duration, 0 to 1h",
     "longest time a commit waits for its upload; 0 uploads as soon as the last upload is done",
     ParseDurationOption<&S::interval, 0, kHour>, FormatDurationOption<&S::interval>},
    {"durability", kShip, "async, commit",
     "commit: a commit returns when the replica has it, or after commit_timeout",
     ParseWordOption<&S::durability, kDurabilityWords>,
     FormatWordOption<&S::durability, kDurabilityWords>},
    {"commit_timeout", kShip, "duration, 1ms to 1h", "longest wait of one commit",
     ParseDurationOption<&S::commit_timeout, 1, kHour>, FormatDurationOption<&S::commit_timeout>},
    {"close_timeout", kShip, "duration, 0 to 1h",
     "longest flush when the last connection closes; what is left is shipped at the next start",
     ParseDurationOption<&S::close_timeout, 0, kHour>, FormatDurationOption<&S::close_timeout>},
    {"checkpoint", kShip, "number, 0 to 10000000",
     "WAL pages at which the library checkpoints; 0 keeps the connection's own setting",
     ParseNumberOption<&S::checkpoint_pages, 0, 10'000'000>,
     FormatNumberOption<&S::checkpoint_pages>},
    {"write_lock", kShip, "auto, never",
     "auto: when a writer outruns the checkpoints, writers are held off for one, a few "
     "milliseconds",
     ParseWordOption<&S::write_lock, kWriteLockWords>,
     FormatWordOption<&S::write_lock, kWriteLockWords>},
    {"write_lock_hold", kShip, "duration, 1ms to 10s",
     "longest time that writers are held off at once; what is left is done the next time",
     ParseDurationOption<&S::write_lock_hold, 1, 10 * kSecond>,
     FormatDurationOption<&S::write_lock_hold>},
    {"segment_size", kShip, "size, 4KiB to 128MiB", "a segment is cut at this size",
     ParseSizeOption<&S::segment_bytes, 4 * kKiB, 128 * kMiB>, FormatSizeOption<&S::segment_bytes>},
    {"memory", kShip, "size, 1MiB to 64GiB", "bound for captured pages that wait for encoding",
     ParseSizeOption<&S::memory_bytes, kMiB, 64 * kGiB>, FormatSizeOption<&S::memory_bytes>},
    {"spool", kShip, "size, 64KiB to 64TiB",
     "bound for encoded segments that wait on disk for the store",
     ParseSizeOption<&S::spool_bytes, 64 * kKiB, 64 * kTiB>, FormatSizeOption<&S::spool_bytes>},
    {"when_full", kShip, "grow-wal, resync, block",
     "store away and spool full: let the WAL grow; or give up the history in between and ship the "
     "difference later; or hold each commit, at most commit_timeout",
     ParseWordOption<&S::when_full, kWhenFullWords>,
     FormatWordOption<&S::when_full, kWhenFullWords>},
    {"compression", kShip, "number, 1 to 19",
     "zstd level; up to three more while commits come slowly",
     ParseNumberOption<&S::compression_level, 1, 19>, FormatNumberOption<&S::compression_level>},
    {"image_log_percent", kShip, "number, 0 to 10000",
     "an image when the log since the last one is larger than this share of it; 0 never for size",
     ParseNumberOption<&S::image_log_percent, 0, 10'000>,
     FormatNumberOption<&S::image_log_percent>},
    {"image_interval", kShip, "duration, 0 to 3650d",
     "an image when the last one is older than this and something changed; 0 never for age",
     ParseDurationOption<&S::image_interval, 0, 3650 * kDay>,
     FormatDurationOption<&S::image_interval>},
    {"state_dir", kShip, "path", "folder of the local state; empty means DATABASE-s3",
     ParseStateDir, [](const ReplicaConfig& config) { return config.ship.state_dir; }},
    {"on_conflict", kShip, "refuse, take-over, fork",
     "what to do when the replica is not plainly ours to append to, see Ownership",
     ParseWordOption<&S::on_conflict, kOnConflictWords>,
     FormatWordOption<&S::on_conflict, kOnConflictWords>},
    {"require_fencing", kShip, "on, off",
     "off also ships to a store without conditional writes, where two writers are not kept apart",
     ParseWordOption<&S::require_fencing, kSwitchWords>,
     FormatWordOption<&S::require_fencing, kSwitchWords>},
    {"attach", kShip, "all, this",
     "all: every connection of the process to this database; this: the one that starts shipping",
     ParseWordOption<&S::attach_all, kAttachWords>, FormatWordOption<&S::attach_all, kAttachWords>},
    {"alarm_after", kShip, "duration, 100ms to 7d",
     "of the agent: the alarm is on when there is something to ship for so long and nothing of it "
     "gets there",
     ParseDurationOption<&S::alarm_after, 100, 7 * kDay>, FormatDurationOption<&S::alarm_after>},
    {"upload_rate", kShip, "size, 0, or 1KiB to 64GiB",
     "bytes a second that go to the store, on average over a few seconds; 0: no limit",
     ParseUploadRate, FormatSizeOption<&S::upload_rate>},
    {"request_rate", kShip, "number, 0 to 100000", "requests a second to the store; 0: no limit",
     ParseNumberOption<&S::request_rate, 0, 100'000>, FormatNumberOption<&S::request_rate>},
    {"request_budget", kShip, "number, 0 to 1000000000",
     "PUT and LIST requests a calendar month (UTC): what is left is spread over the rest of the "
     "month by a longer interval; 0: no budget",
     ParseNumberOption<&S::request_budget, 0, 1'000'000'000>,
     FormatNumberOption<&S::request_budget>},
    {"statements", kShip, "off, text, values",
     "also ship the SQL of each commit: text without literals and values, to read; values with "
     "them, to execute again",
     ParseWordOption<&S::statements, kStatementWords>,
     FormatWordOption<&S::statements, kStatementWords>},
    {"statements_exclude", kShip, "names, joined by :",
     "statements that name one of these tables, columns or functions are not shipped; * and ? "
     "stand for any characters and any one",
     ParseStatementsExclude,
     [](const ReplicaConfig& config) { return config.ship.statements_exclude; }},
    {"endpoint", kStore, "http(s)://host[:port]", "an S3 service other than AWS", ParseEndpoint,
     FormatTextOption<&L::endpoint>},
    {"region", kStore, "name", "the bucket's region", ParseRegion, FormatTextOption<&L::region>},
    {"client", kStore, "libcurl, libs3", "the S3 client; libs3 for endpoints that need it",
     ParseWordOption<&L::client, kClientWords>, FormatTextOption<&L::client>},
    {"addressing", kStore, "auto, path, virtual",
     "path: https://host/bucket/key; virtual: https://bucket.host/key; auto: virtual at AWS, path "
     "at an endpoint",
     ParseWordOption<&L::addressing, kAddressingWords>, FormatTextOption<&L::addressing>},
    {"checksum", kStore, "crc32c, sha256, off",
     "goes with each upload, and each object read whole is compared with it; sha256 also signs "
     "bodies over TLS; off is for stores that take or give none",
     ParseWordOption<&L::checksum, kChecksumWords>, FormatTextOption<&L::checksum>},
    {"ca_file", kStore, "path", "PEM file of the authorities to trust in place of the system's",
     ParsePathOption<&L::ca_file>, FormatTextOption<&L::ca_file>},
    {"profile", kStore, "name", "profile of the credentials, and no other source of them",
     ParseTokenOption<&L::profile>, FormatTextOption<&L::profile>},
    {"sse", kStore, "AES256, aws:kms", "encryption at rest with keys of the store, or of its KMS",
     ParseWordOption<&L::sse, kSseWords>, FormatTextOption<&L::sse>},
    {"sse_kms_key_id", kStore, "id", "the key of KMS, with sse=aws:kms",
     ParseTokenOption<&L::sse_kms_key_id>, FormatTextOption<&L::sse_kms_key_id>},
    {"sse_c_key_file", kStore, "path",
     "file of 32 bytes: encryption at rest with this key, which the store does not keep",
     ParsePathOption<&L::sse_c_key_file>, FormatTextOption<&L::sse_c_key_file>},
    {"storage_class", kStore, "name", "storage class of the objects, such as STANDARD_IA",
     ParseTokenOption<&L::storage_class>, FormatTextOption<&L::storage_class>},
    {"tags", kStore, "name=value", "tags of the objects, up to 10, joined by %26", ParseTags,
     FormatTextOption<&L::tags>},
    {"connect_timeout", kStore, "duration, 100ms to 5m", "longest wait for a connection",
     ParseDurationOption<&L::connect_timeout, 100, 300 * kSecond>,
     FormatDurationOption<&L::connect_timeout>},
    {"request_timeout", kStore, "duration, 100ms to 1h",
     "longest time of a request, beside the time its bytes take at 64 KiB/s; two thirds of it, at "
     "least 20s, without a sign of life",
     ParseDurationOption<&L::request_timeout, 100, kHour>,
     FormatDurationOption<&L::request_timeout>},
    {"part_size", kStore, "size, 5MiB to 1GiB",
     "larger objects are uploaded in parts of this size, several at once",
     ParseSizeOption<&L::part_bytes, 5 * kMiB, kGiB>, FormatSizeOption<&L::part_bytes>},
    {"upload_parallelism", kStore, "number, 1 to 32", "parts of one object that are sent at once",
     ParseNumberOption<&L::upload_parallelism, 1, 32>, FormatNumberOption<&L::upload_parallelism>},
};

}  // namespace

std::span<const OptionDescriptor> OptionTable() { return kTable; }

const OptionDescriptor* FindOption(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTable), std::end(kTable),
                                   [&](const OptionDescriptor& o) { return o.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

std::string_view NearestOption(std::string_view name) {
  std::vector<std::string_view> names;
  for (const OptionDescriptor& option : kTable) {
    names.push_back(option.name);
  }
  return NearestName(name, names);
}

std::string FormatOptionTable() {
  const ReplicaConfig defaults;
  std::string out;
  for (const OptionDescriptor& option : kTable) {
    const std::string value = option.format(defaults);
    out += "| `" + std::string(option.name) + "` | " + std::string(option.values) + " | " +
           (value.empty() ? std::string() : "`" + value + "`") + " | " + std::string(option.help) +
           " |\n";
  }
  return out;
}

}  // namespace sqlite_s3
