#include "agent/daemon/cost.h"

#include <algorithm>

namespace sqlite_s3 {
namespace {

constexpr double kMonthMicros = 30.0 * 24 * 3600 * 1e6;
constexpr int64_t kLeastMicros = int64_t{60} * 1'000'000;  // less says nothing

}  // namespace

double EstimateMonthlyCost(const StoreTraffic& traffic, int64_t observed_us, const Prices& prices) {
  const double pace = kMonthMicros / static_cast<double>(std::max(observed_us, kLeastMicros));
  const auto of = [&](StoreOperation a, StoreOperation b) {
    return static_cast<double>(traffic.Of(a) + traffic.Of(b)) * pace;
  };
  return of(StoreOperation::kPut, StoreOperation::kList) / 1000 * prices.put_per_1000 +
         of(StoreOperation::kGet, StoreOperation::kHead) / 1000 * prices.get_per_1000 +
         static_cast<double>(traffic.bytes_sent) * pace / 1e9 * prices.gb_month;
}

}  // namespace sqlite_s3
