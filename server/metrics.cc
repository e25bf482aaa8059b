#include "server/metrics.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <cstdio>

namespace sqlite_s3::server {
namespace {

constexpr std::array<const char*, 5> kClasses = {"1xx", "2xx", "3xx", "4xx", "5xx"};

class PrometheusMetrics : public Metrics {
 public:
  PrometheusMetrics(BucketSet& buckets, bool log_requests)
      : buckets_(buckets), log_requests_(log_requests) {
    auto& requests = prometheus::BuildCounter()
                         .Name("sqlite_s3_server_requests_total")
                         .Help("requests by operation and class of their status")
                         .Register(registry_);
    auto& durations = prometheus::BuildHistogram()
                          .Name("sqlite_s3_server_request_seconds")
                          .Help("from a request's head to its answer's head")
                          .Register(registry_);
    // All made at once: on the way of a request nothing is looked up by name.
    for (size_t op = 0; op < kOpCount; ++op) {
      const std::string name = OpName(static_cast<Op>(op));
      for (size_t c = 0; c < kClasses.size(); ++c) {
        requests_[op][c] = &requests.Add({{"operation", name}, {"status", kClasses[c]}});
      }
      durations_[op] = &durations.Add(
          {{"operation", name}},
          prometheus::Histogram::BucketBoundaries{0.0005, 0.002, 0.01, 0.05, 0.2, 1, 5, 30});
    }
    auto& bytes = prometheus::BuildCounter()
                      .Name("sqlite_s3_server_body_bytes_total")
                      .Help("bytes of bodies, as announced for those that go out")
                      .Register(registry_);
    bytes_in_ = &bytes.Add({{"direction", "in"}});
    bytes_out_ = &bytes.Add({{"direction", "out"}});
  }

  void OnAnswer(const Call& call, const Response& response, int64_t duration_us,
                uint64_t body_bytes_in) override {
    const auto op = static_cast<size_t>(call.op);
    const size_t status_class = static_cast<size_t>(response.status) / 100 - 1;
    if (status_class < kClasses.size()) {
      requests_[op][status_class]->Increment();
    }
    durations_[op]->Observe(static_cast<double>(duration_us) / 1e6);
    bytes_in_->Increment(static_cast<double>(body_bytes_in));
    bytes_out_->Increment(static_cast<double>(response.size()));
    if (log_requests_) {
      std::fputs(fmt::format("{} {} {} {} {} in {} out {} us {}\n", call.request_id,
                             call.request.method, OpName(call.op), Printable(call.request.path),
                             response.status, body_bytes_in, response.size(), duration_us)
                     .c_str(),
                 stderr);
    }
  }

  std::unique_ptr<Exchange> Begin(Request request) override {
    Response response;
    response.headers.Add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    if (request.method != "GET") {
      response.status = 405;
    } else if (request.path == "/healthz") {
      response.body = "ok\n";
    } else if (request.path == "/metrics") {
      response.body = prometheus::TextSerializer().Serialize(registry_.Collect()) + BucketText();
    } else {
      response.status = 404;
    }
    return AnswerNow(std::move(response));
  }

 private:
  // What comes from outside goes into a log without control characters.
  static std::string Printable(const std::string& text) {
    std::string out;
    for (const char c : text.substr(0, 2048)) {
      out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
    return out;
  }

  // Read when asked for; the registry would keep series of buckets that are gone.
  std::string BucketText() const {
    StorageResult<std::vector<BucketInfo>> listed = buckets_.List();
    if (!listed.ok()) {
      return {};
    }
    prometheus::Registry registry;
    auto& gauges = prometheus::BuildGauge()
                       .Name("sqlite_s3_server_bucket_bytes")
                       .Help("size of a bucket's database and of its WAL")
                       .Register(registry);
    auto& counters = prometheus::BuildCounter()
                         .Name("sqlite_s3_server_bucket_writes_total")
                         .Help("writes, and the transactions that they shared")
                         .Register(registry);
    for (const BucketInfo& info : *listed) {
      StorageResult<std::shared_ptr<Bucket>> bucket = buckets_.Get(info.name);
      if (!bucket.ok()) {
        continue;
      }
      const BucketStats stats = (*bucket)->Stats();
      gauges.Add({{"bucket", info.name}, {"file", "database"}})
          .Set(static_cast<double>(stats.file_bytes));
      gauges.Add({{"bucket", info.name}, {"file", "wal"}})
          .Set(static_cast<double>(stats.wal_bytes));
      counters.Add({{"bucket", info.name}, {"unit", "transactions"}})
          .Increment(static_cast<double>(stats.transactions));
      counters.Add({{"bucket", info.name}, {"unit", "operations"}})
          .Increment(static_cast<double>(stats.operations));
    }
    return prometheus::TextSerializer().Serialize(registry.Collect());
  }

  BucketSet& buckets_;
  const bool log_requests_;
  prometheus::Registry registry_;
  std::array<std::array<prometheus::Counter*, kClasses.size()>, kOpCount> requests_{};
  std::array<prometheus::Histogram*, kOpCount> durations_{};
  prometheus::Counter* bytes_in_ = nullptr;
  prometheus::Counter* bytes_out_ = nullptr;
};

}  // namespace

std::unique_ptr<Metrics> Metrics::Create(BucketSet& buckets, bool log_requests) {
  return std::make_unique<PrometheusMetrics>(buckets, log_requests);
}

}  // namespace sqlite_s3::server
