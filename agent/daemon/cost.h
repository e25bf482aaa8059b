#pragma once
// What a store will charge for a month that goes on as it has begun: an estimate, for finding the
// database that costs too much. Pure.

#include <cstdint>

#include "agent/daemon/metered_store.h"

namespace sqlite_s3 {

// S3 Standard in us-east-1 as of 2024, US dollars.
struct Prices {
  double put_per_1000 = 0.005;  // PUT and LIST
  double get_per_1000 = 0.0004;
  double gb_month = 0.023;  // of storage, 10^9 bytes
  bool operator==(const Prices&) const = default;
};

// Requests at the pace of the time observed, and one month's storage of what a month at that pace
// sends. Not in it: what lay there before, what is deleted again, transfer, parts of large objects.
// A start sends an image: the first hours say too much.
double EstimateMonthlyCost(const StoreTraffic& traffic, int64_t observed_us, const Prices& prices);

}  // namespace sqlite_s3
