#include "restore/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <thread>

#include "common/base/time.h"
#include "common/config/environment.h"
#include "common/config/options.h"
#include "common/replica/store_address.h"
#include "common/store/open_store.h"
#include "common/store/retrying_store.h"
#include "restore/exit_codes.h"

namespace sqlite_s3 {
namespace {

constexpr RetryPolicy kPatience{std::chrono::milliseconds(100), std::chrono::milliseconds(5000),
                                std::chrono::milliseconds(60'000)};

}  // namespace

Result<OpenedReplica> OpenReplica(const CommonOptions& options) {
  ASSIGN_OR_RETURN(const ReplicaConfig environment, EnvironmentDefaults());
  ASSIGN_OR_RETURN(ReplicaConfig config, ParseReplicaConfig(options.replica, {}, environment));
  // A restore cannot harm a replica.
  ASSIGN_OR_RETURN(std::shared_ptr<ObjectStore> store,
                   OpenStore(AddressOf(config.location, StoreUse::kRead)));
  OpenedReplica opened;
  opened.store = std::make_shared<RetryingStore>(store, kPatience, [](std::chrono::milliseconds d) {
    timespec ts{};
    ts.tv_sec = static_cast<std::time_t>(d.count() / 1000);
    ts.tv_nsec = static_cast<long>(d.count() % 1000 * 1'000'000);
    nanosleep(&ts, nullptr);
    return true;
  });
  opened.replica = std::make_unique<Replica>(*opened.store);
  // Two at least: one fetches while the other decodes.
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  opened.replica->set_parallelism(options.parallel > 0 ? options.parallel
                                                       : std::max(processors, 2));
  opened.replica->set_keep_bytes(uint64_t{256} << 20);
  RETURN_IF_ERROR(opened.replica->Open());
  return opened;
}

Result<std::optional<TimelineId>> ParseTimelineOption(const std::string& text) {
  if (text.empty()) {
    return std::optional<TimelineId>();
  }
  uint32_t value = 0;
  const int base = text.size() == 8 ? 16 : 10;  // as printed, or a plain number
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) {
    return InvalidArgumentError("option '--timeline': '" + text +
                                "' is not a timeline, hint: a number as `list` prints it");
  }
  return std::optional<TimelineId>(TimelineId{value});
}

Result<uint64_t> ParseSizeOption(const std::string& text) {
  if (text.empty()) {
    return uint64_t{0};
  }
  return ParseByteSize(text);
}

int Fail(const Status& status, const CommonOptions& options, const Damage* damage) {
  int code = ExitCodeFor(status.code());
  if (damage != nullptr && damage->missing && status.code() == StatusCode::kNotFound) {
    code = kExitGap;
  }
  std::string message = status.message();
  std::string hint;
  const size_t at = message.find(", hint: ");
  if (at != std::string::npos) {
    hint = message.substr(at + 8);
    message.resize(at);
  }
  if (!options.json) {
    std::fputs(
        fmt::format("sqlite-s3-restore: {}{}{}\n", message, hint.empty() ? "" : ", hint: ", hint)
            .c_str(),
        stderr);
    return code;
  }
  nlohmann::ordered_json error = {
      {"code", code == kExitGap ? "gap" : StatusCodeName(status.code())},
      {"exit_code", code},
      {"message", message}};
  if (!hint.empty()) {
    error["hint"] = hint;
  }
  if (damage != nullptr && !damage->key.empty()) {
    error["object"] = damage->key;
    error["missing"] = damage->missing;
    if (damage->best) {
      error["best_txid"] = FormatTxid(*damage->best);
    }
  }
  PrintJson({{"error", error}});
  return code;
}

void PrintJson(const nlohmann::ordered_json& json) {
  // Names from a bucket or a path need not be UTF-8.
  std::puts(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

std::string FormatTimeLocal(int64_t time_us) {
  const auto seconds = static_cast<std::time_t>(time_us / 1'000'000);
  std::tm tm{};
  localtime_r(&seconds, &tm);
  char date[64];
  char zone[16];
  std::strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
  std::strftime(zone, sizeof(zone), "%z", &tm);
  return fmt::format("{}.{:06d} {}", date, time_us % 1'000'000, zone);
}

std::string DescribeFlags(uint8_t flags) {
  std::string text;
  auto add = [&](uint8_t flag, const char* word) {
    if ((flags & flag) != 0) {
      text += text.empty() ? "" : ",";
      text += word;
    }
  };
  add(kCommitOrigin, "origin");
  add(kCommitResync, "resync");
  add(kCommitMerged, "merged");
  add(kCommitTimeUpperBound, "time-at-most");
  return text;
}

nlohmann::ordered_json TimelinesToJson(const std::vector<TimelineDocument>& timelines) {
  nlohmann::ordered_json lines = nlohmann::json::array();
  for (const TimelineDocument& t : timelines) {
    lines.push_back({{"timeline", t.timeline.value},
                     {"parent", t.parent.value},
                     {"parent_txid", FormatTxid(t.parent_txid)},
                     {"reason", TimelineReasonName(t.reason)},
                     {"supersedes_parent", t.supersedes_parent},
                     {"created", FormatTimeUtc(t.created_us)}});
  }
  return lines;
}

}  // namespace sqlite_s3
