#include "common/base/clock.h"

#include <ctime>

namespace sqlite_s3 {
namespace {

int64_t Micros(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return static_cast<int64_t>(ts.tv_sec) * 1'000'000 + ts.tv_nsec / 1000;
}

class RealClock : public Clock {
 public:
  int64_t WallMicros() const override { return Micros(CLOCK_REALTIME); }
  int64_t MonotonicMicros() const override { return Micros(CLOCK_BOOTTIME); }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock* clock = new RealClock;  // never destroyed: threads may outlive main
  return *clock;
}

}  // namespace sqlite_s3
