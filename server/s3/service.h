#pragma once
// Service: S3 on top of storage. Takes requests from any HTTP, or from a test: authenticates,
// decides what is asked for and whether it is allowed, and answers every failure with S3's
// document.

#include <functional>
#include <memory>

#include "common/base/clock.h"
#include "server/auth/users.h"
#include "server/http/message.h"
#include "server/s3/call.h"

namespace sqlite_s3::server {

// Hears of every request when its answer is made. Thread-safe.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  virtual void OnAnswer(const Call& call, const Response& response, int64_t duration_us,
                        uint64_t body_bytes_in) = 0;
};

// May put itself between a request and its operation: faults for tests. Thread-safe.
class RequestInterceptor {
 public:
  virtual ~RequestInterceptor() = default;
  // `proceed` makes the exchange that serves the call; not calling it means that nothing happens.
  virtual std::unique_ptr<Exchange> Intercept(
      std::shared_ptr<Call> call,
      const std::function<std::unique_ptr<Exchange>(std::shared_ptr<Call>)>& proceed) = 0;
};

class Service : public Handler {
 public:
  // All must outlive the service; the last two may be null.
  Service(BucketSet& buckets, const Users& users, ServiceOptions options, const Clock& clock,
          RequestObserver* observer, RequestInterceptor* interceptor);
  std::unique_ptr<Exchange> Begin(Request request) override;

 private:
  std::optional<S3Error> Locate(Call& call) const;
  std::optional<S3Error> Authorize(const Call& call) const;
  std::unique_ptr<Exchange> Dispatch(std::shared_ptr<Call> call) const;

  BucketSet& buckets_;
  const Users& users_;
  const ServiceOptions options_;
  const Clock& clock_;
  RequestObserver* const observer_;
  RequestInterceptor* const interceptor_;
};

}  // namespace sqlite_s3::server
