#pragma once
// MetricsListener: GET /metrics and GET /healthz over HTTP, for Prometheus and for whoever asks
// whether all is well. One thread, few connections, short patience; answers nothing else.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/base/status.h"

namespace sqlite_s3 {

struct HealthAnswer {
  bool ok = false;
  std::string text;
};

// kInvalidArgument for what Start would refuse.
Status CheckMetricsAddress(const std::string& address);

class MetricsListener {
 public:
  // `address`: "127.0.0.1:9464", "[::1]:9464", ":9464" (loopback); port 0: any. The functions are
  // called on the listener's thread until it is destroyed. kInvalidArgument (address),
  // kUnavailable (in use), kPermissionDenied.
  static Result<std::unique_ptr<MetricsListener>> Start(const std::string& address,
                                                        std::function<std::string()> metrics,
                                                        std::function<HealthAnswer()> health);
  virtual ~MetricsListener() = default;
  virtual uint16_t port() const = 0;
};

}  // namespace sqlite_s3
