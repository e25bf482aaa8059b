#pragma once
// Metrics: what Prometheus reads, and a log line per request when asked for.

#include <memory>

#include "server/http/message.h"
#include "server/s3/service.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::server {

// GET /metrics answers Prometheus' text format; GET /healthz "ok". Thread-safe.
class Metrics : public RequestObserver, public Handler {
 public:
  // `buckets` must outlive it. With `log_requests` each request is a line on standard error:
  // method, path without the query (it may hold a signature), status, bytes, microseconds.
  static std::unique_ptr<Metrics> Create(BucketSet& buckets, bool log_requests);
};

}  // namespace sqlite_s3::server
