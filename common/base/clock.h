#pragma once
// Clock: the seam for time. Real clocks in products, FakeClock in tests.

#include <chrono>
#include <cstdint>

namespace sqlite_s3 {

class Clock {
 public:
  virtual ~Clock() = default;
  // Microseconds since 1970-01-01 UTC; may jump either way.
  virtual int64_t WallMicros() const = 0;
  // Microseconds of a clock that never goes back; counts while the machine is suspended.
  virtual int64_t MonotonicMicros() const = 0;
  // The real one; lives for ever; thread-safe.
  static const Clock& Real();
};

// Stands still until told. Not thread-safe for concurrent setters.
class FakeClock : public Clock {
 public:
  explicit FakeClock(int64_t wall_us = 1'700'000'000'000'000) : wall_us_(wall_us) {}
  int64_t WallMicros() const override { return wall_us_; }
  int64_t MonotonicMicros() const override { return monotonic_us_; }
  void Advance(std::chrono::microseconds d) {
    wall_us_ += d.count();
    monotonic_us_ += d.count();
  }
  void SetWall(int64_t wall_us) { wall_us_ = wall_us; }

 private:
  int64_t wall_us_;
  int64_t monotonic_us_ = 1'000'000;
};

}  // namespace sqlite_s3
