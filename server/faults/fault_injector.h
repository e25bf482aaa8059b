#pragma once
// FaultInjector: carries the rules out between a request and its operation. FaultAdmin: HTTP for
// the rules, on a listener of its own.

#include "server/faults/fault_rules.h"
#include "server/s3/service.h"

namespace sqlite_s3::server {

class FaultInjector : public RequestInterceptor {
 public:
  explicit FaultInjector(FaultRules& rules) : rules_(rules) {}
  std::unique_ptr<Exchange> Intercept(
      std::shared_ptr<Call> call,
      const std::function<std::unique_ptr<Exchange>(std::shared_ptr<Call>)>& proceed) override;

 private:
  FaultRules& rules_;
};

// POST /rules adds, GET /rules lists with hit counts, DELETE /rules clears.
class FaultAdmin : public Handler {
 public:
  explicit FaultAdmin(FaultRules& rules) : rules_(rules) {}
  std::unique_ptr<Exchange> Begin(Request request) override;

 private:
  FaultRules& rules_;
};

}  // namespace sqlite_s3::server
