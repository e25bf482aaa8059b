#include "agent/daemon/metrics.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <utility>

#include "agent/daemon/health.h"
#include "common/sqlite/sqlite_api.h"

namespace sqlite_s3 {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Label = ClientMetric::Label;

constexpr const char* kStates[] = {"shipping", "starting", "store-away", "standby", "fenced",
                                   "failed",   "stopped",  "waiting",    "paused"};
// Series of errors that a store's contract knows are there from the start; others when they happen.
constexpr StatusCode kUsualErrors[] = {
    StatusCode::kInvalidArgument,   StatusCode::kUnavailable, StatusCode::kPermissionDenied,
    StatusCode::kResourceExhausted, StatusCode::kCorruption,  StatusCode::kDeadlineExceeded};

class Families {
 public:
  // Begins a metric; Add adds to the last one begun. Names of counters end in _total.
  void Begin(const std::string& name, const std::string& help) {
    MetricFamily& family = families_.emplace_back();
    family.name = "sqlite_s3_agent_" + name;
    family.help = help;
    family.type = name.ends_with("_total") ? MetricType::Counter : MetricType::Gauge;
  }
  void Add(std::vector<Label> labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = metric.counter.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void AddProcess(const std::string& name, const std::string& help, double value) {
    Begin(name, help);
    families_.back().name = name;  // the names that every exporter has
    Add({}, value);
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

struct Metric {
  const char* name;
  const char* help;
  double (*value)(const DatabaseStatus& status);
};

template <typename T>
double Number(T value) {
  return static_cast<double>(value);
}

// One series a database each.
constexpr Metric kMetrics[] = {
    {"alarm", "1 while there is something to ship and nothing of it gets there",
     [](const DatabaseStatus& d) { return d.alarm ? 1.0 : 0.0; }},
    {"held_up_by_machine", "1 while a full disk here, or the like, is why nothing is shipped",
     [](const DatabaseStatus& d) { return d.engine.away_of == "machine" ? 1.0 : 0.0; }},
    {"captured_txid", "last commit that was read from the WAL",
     [](const DatabaseStatus& d) { return Number(d.engine.txid.value); }},
    {"shipped_txid", "last commit that the replica can restore",
     [](const DatabaseStatus& d) { return Number(d.engine.shipped_txid.value); }},
    {"lag_seconds", "age of the oldest commit that the replica does not have",
     [](const DatabaseStatus& d) { return Number(d.engine.lag_ms) / 1000; }},
    {"lag_commits", "commits that the replica does not have",
     [](const DatabaseStatus& d) { return Number(d.engine.lag_commits); }},
    {"last_success_timestamp_seconds", "when the store last answered; 0 for never",
     [](const DatabaseStatus& d) { return Number(d.traffic.last_success_us) / 1e6; }},
    {"sent_bytes_total", "bytes of objects sent to the store, every try counted",
     [](const DatabaseStatus& d) { return Number(d.traffic.bytes_sent); }},
    {"received_bytes_total", "bytes of objects that the store sent",
     [](const DatabaseStatus& d) { return Number(d.traffic.bytes_received); }},
    {"captured_bytes_total", "bytes of frames that were read from the WAL",
     [](const DatabaseStatus& d) { return Number(d.engine.bytes_captured); }},
    {"wal_bytes", "size of the WAL's file",
     [](const DatabaseStatus& d) { return Number(d.wal_file_bytes); }},
    {"spool_bytes", "encoded, and waiting on disk for the store",
     [](const DatabaseStatus& d) { return Number(d.engine.spool_bytes); }},
    {"interval_seconds", "how far apart segments are now: the option, or what the budget asks",
     [](const DatabaseStatus& d) { return Number(d.engine.interval_ms) / 1000; }},
    {"request_budget", "PUT and LIST requests that a month may have; 0 for no budget",
     [](const DatabaseStatus& d) { return Number(d.engine.request_budget); }},
    {"requests_this_month", "PUT and LIST requests since the month began, or the agent",
     [](const DatabaseStatus& d) { return Number(d.engine.requests_this_month); }},
    {"segments_total", "segments that the replica has acknowledged",
     [](const DatabaseStatus& d) { return Number(d.engine.segments); }},
    {"images_total", "images made",
     [](const DatabaseStatus& d) { return Number(d.engine.images); }},
    {"resyncs_total", "times the difference was shipped because the history in between was lost",
     [](const DatabaseStatus& d) { return Number(d.engine.resyncs); }},
    {"merged_commits_total", "commits that share a restore point because of overload",
     [](const DatabaseStatus& d) { return Number(d.engine.merged_commits); }},
    {"salvaged_commits_total", "commits whose frames failed SQLite's checksum",
     [](const DatabaseStatus& d) { return Number(d.engine.salvaged_commits); }},
    {"checkpoints_total", "checkpoints that the agent made",
     [](const DatabaseStatus& d) { return Number(d.engine.checkpoints); }},
    {"wal_resets_total", "times the WAL began anew",
     [](const DatabaseStatus& d) { return Number(d.engine.wal_resets); }},
    {"checkpoint_error", "1 while the WAL is not emptied and may grow; the status says why",
     [](const DatabaseStatus& d) { return d.engine.checkpoint_error.empty() ? 0.0 : 1.0; }},
    {"write_locks_total", "checkpoints for which writers were held off",
     [](const DatabaseStatus& d) { return Number(d.engine.write_locks); }},
    {"write_lock_max_seconds", "the longest of them",
     [](const DatabaseStatus& d) { return Number(d.engine.write_lock_max_us) / 1e6; }},
};

void AddDatabases(const std::vector<DatabaseStatus>& databases, Families& families) {
  for (const Metric& metric : kMetrics) {
    families.Begin(metric.name, metric.help);
    for (const DatabaseStatus& d : databases) {
      families.Add({{"database", d.engine.database}}, metric.value(d));
    }
  }
  families.Begin("state", "1 for the state that the database is in");
  for (const DatabaseStatus& d : databases) {
    const std::string_view now = DatabaseStateName(d);
    for (const char* state : kStates) {
      families.Add({{"database", d.engine.database}, {"state", state}}, now == state ? 1 : 0);
    }
  }
  families.Begin("requests_total", "requests to the store, every try counted");
  for (const DatabaseStatus& d : databases) {
    for (size_t i = 0; i < kStoreOperations; ++i) {
      families.Add({{"database", d.engine.database},
                    {"operation", StoreOperationName(static_cast<StoreOperation>(i))}},
                   Number(d.traffic.requests[i]));
    }
  }
  families.Begin("errors_total", "requests to the store that failed, by code");
  for (const DatabaseStatus& d : databases) {
    for (size_t i = 0; i < kStatusCodes; ++i) {
      const auto code = static_cast<StatusCode>(i);
      if (d.traffic.errors[i] > 0 || std::find(std::begin(kUsualErrors), std::end(kUsualErrors),
                                               code) != std::end(kUsualErrors)) {
        families.Add({{"database", d.engine.database}, {"code", StatusCodeName(code)}},
                     Number(d.traffic.errors[i]));
      }
    }
  }
}

// Fields 14, 15 (CPU), 20 (threads), 24 (resident pages) of /proc/self/stat, see proc(5).
void AddProcess(Families& families) {
  std::ifstream in("/proc/self/stat");
  std::string text;
  std::getline(in, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));  // the name may have spaces
  std::array<std::string, 22> from_third;
  for (std::string& field : from_third) {
    fields >> field;
  }
  const auto field = [&](size_t n) { return std::strtod(from_third[n - 3].c_str(), nullptr); };
  families.AddProcess("process_cpu_seconds_total", "CPU time used",
                      (field(14) + field(15)) / Number(sysconf(_SC_CLK_TCK)));
  families.AddProcess("process_resident_memory_bytes", "memory used",
                      field(24) * Number(sysconf(_SC_PAGESIZE)));
  families.AddProcess("process_threads", "threads", field(20));
  size_t open = 0;
  if (DIR* directory = opendir("/proc/self/fd")) {
    while (readdir(directory) != nullptr) {
      ++open;
    }
    closedir(directory);
    open -= std::min<size_t>(open, 3);  // ".", "..", and the directory itself
  }
  families.AddProcess("process_open_fds", "open files", Number(open));
}

}  // namespace

std::string FormatMetrics(const std::vector<DatabaseStatus>& databases, const Prices& prices) {
  Families families;
  AddDatabases(databases, families);
  families.Begin("cost_dollars_per_month", "an estimate, see docs/OPERATIONS.md");
  for (const DatabaseStatus& d : databases) {
    families.Add({{"database", d.engine.database}},
                 EstimateMonthlyCost(d.traffic, d.observed_us, prices));
  }
  families.Begin("databases", "databases of this agent");
  families.Add({}, Number(databases.size()));
  families.Begin("build_info", "1; the versions are labels");
  families.Add({{"version", SQLITE_S3_VERSION_TEXT}, {"sqlite", sqlite3_libversion()}}, 1);
  AddProcess(families);
  return families.Text();
}

Result<std::unique_ptr<MetricsListener>> ServeMetrics(const std::string& address, Agent& agent) {
  auto statuses = [&agent] {
    std::vector<DatabaseStatus> all;
    for (const auto& task : agent.All()) {
      all.push_back(task->GetStatus(false));
    }
    return all;
  };
  return MetricsListener::Start(
      address, [statuses, &agent] { return FormatMetrics(statuses(), agent.prices()); },
      [statuses] {
        const Health health = HealthOf(statuses());
        return HealthAnswer{health.ok(), FormatHealth(health)};
      });
}

}  // namespace sqlite_s3
