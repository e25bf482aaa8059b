#include "common/store/rate_limiter.h"

#include <algorithm>
#include <cmath>

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;

constexpr double kImageShare = 0.25;  // while the log waits too
constexpr double kBurstSeconds = 1;
constexpr double kNothing = 1e-6;  // of a byte or request: what rounding leaves
constexpr int64_t kLeastWaitMicros = 500;
constexpr int64_t kMostWaitMicros = 1'000'000;
constexpr int kMostLookedAt = 256;  // turns ahead: with more of them the wait is longer anyway

size_t IndexOf(RequestKind kind) { return static_cast<size_t>(kind); }

}  // namespace

RateLimiter::RateLimiter(const RateLimits& limits, const Clock& clock)
    : clock_(clock), at_us_(clock.MonotonicMicros()) {
  SetLimits(limits);
  bytes_.log = bytes_.rate * kBurstSeconds;
  requests_.log = requests_.rate * kBurstSeconds;
}

void RateLimiter::SetLimits(const RateLimits& limits) {
  std::lock_guard lock(mutex_);
  Accrue();
  for (auto [bucket, rate] : {std::pair(&bytes_, limits.bytes_per_second),
                              std::pair(&requests_, limits.requests_per_second)}) {
    bucket->rate = static_cast<double>(rate);
    // What was owed at another rate would take for ever at a lower one.
    bucket->log = std::clamp(bucket->log, -bucket->rate * kBurstSeconds, bucket->rate);
  }
}

RateLimits RateLimiter::limits() const {
  std::lock_guard lock(mutex_);
  return {static_cast<uint64_t>(bytes_.rate), static_cast<uint64_t>(requests_.rate)};
}

RateLimiter::Queue& RateLimiter::QueueOf(const Turn& turn) {
  return turn.kind_ == RequestKind::kImage ? image_ : turn.bytes_ == 0 ? small_ : log_;
}

void RateLimiter::Join(Turn& turn) {
  const size_t kind = IndexOf(turn.kind_);
  double cost = 0;  // in seconds of what there is
  if (bytes_.rate > 0) {
    cost = static_cast<double>(turn.bytes_) / bytes_.rate;
  }
  if (requests_.rate > 0) {
    cost = std::max(cost, 1 / requests_.rate);
  }
  turn.start_ = std::max(virtual_[kind], turn.client_.finish_[kind]);
  turn.finish_ = turn.start_ + cost;
  turn.client_.finish_[kind] = turn.finish_;
  turn.number_ = next_number_++;
  turn.state_ = Turn::State::kWaiting;
  QueueOf(turn).insert(&turn);
}

void RateLimiter::Accrue() {
  const int64_t now = clock_.MonotonicMicros();
  const double seconds = static_cast<double>(std::max<int64_t>(now - at_us_, 0)) / 1e6;
  at_us_ = std::max(now, at_us_);
  for (auto [bucket, cost] :
       {std::pair(&bytes_, image_.empty() ? 0.0 : static_cast<double>((*image_.begin())->bytes_)),
        std::pair(&requests_, image_.empty() ? 0.0 : 1.0)}) {
    const double earned = bucket->rate * seconds;
    const double most = bucket->rate * kBurstSeconds;
    if (image_.empty()) {
      bucket->log = std::min(bucket->log + earned + std::exchange(bucket->image, 0), most);
      continue;
    }
    const double share = std::clamp(cost - bucket->image, 0.0, earned * kImageShare);
    bucket->image += share;
    bucket->log += earned - share;
    if (bucket->log > most) {
      bucket->image += std::clamp(cost - bucket->image, 0.0, bucket->log - most);
      bucket->log = most;
    }
  }
}

void RateLimiter::GiveTurn(Turn& turn) {
  const size_t kind = IndexOf(turn.kind_);
  QueueOf(turn).erase(&turn);
  turn.state_ = Turn::State::kGranted;
  virtual_[kind] = std::max(virtual_[kind], turn.start_);
  for (auto [bucket, cost] :
       {std::pair(&bytes_, static_cast<double>(turn.bytes_)), std::pair(&requests_, 1.0)}) {
    if (bucket->rate > 0) {
      (turn.kind_ == RequestKind::kImage ? bucket->image : bucket->log) -= cost;
    }
  }
}

// Gives one turn if there is one to give.
bool RateLimiter::GrantNext() {
  const bool requests = requests_.rate == 0 || requests_.log >= 1 - kNothing;
  const bool bytes = bytes_.rate == 0 || bytes_.log > -kNothing;
  Turn* next = nullptr;
  if (requests && !small_.empty()) {
    next = *small_.begin();
  }
  if (requests && bytes && !log_.empty() && (next == nullptr || Order()(*log_.begin(), next))) {
    next = *log_.begin();
  }
  if (next == nullptr && !image_.empty()) {
    Turn* const image = *image_.begin();
    if ((requests_.rate == 0 || requests_.image >= 1 - kNothing) &&
        (bytes_.rate == 0 || bytes_.image >= static_cast<double>(image->bytes_) - kNothing)) {
      next = image;
    }
  }
  if (next == nullptr) {
    return false;
  }
  GiveTurn(*next);
  return true;
}

void RateLimiter::Grant() {
  Accrue();
  while (GrantNext()) {
  }
}

// How long until it may be its turn, if nobody comes or goes meanwhile.
microseconds RateLimiter::WaitOf(const Turn& turn) {
  const bool image = turn.kind_ == RequestKind::kImage;
  double bytes = -(image ? bytes_.image : bytes_.log);
  double requests = -(image ? requests_.image : requests_.log);
  int looked_at = 0;
  const Queue& queue = QueueOf(turn);
  for (auto at = queue.begin(); looked_at < kMostLookedAt; ++at, ++looked_at) {
    requests += 1;
    if (*at == &turn) {
      // The log may owe for its own object, an image must not.
      bytes += image ? static_cast<double>(turn.bytes_) : 0;
      break;
    }
    bytes += static_cast<double>((*at)->bytes_);
  }
  const double share = image || image_.empty() ? 1 : 1 - kImageShare;
  double seconds = 0;
  if (requests_.rate > 0) {
    seconds = requests / (requests_.rate * share);
  }
  if (bytes_.rate > 0 && turn.bytes_ > 0) {
    seconds = std::max(seconds, bytes / (bytes_.rate * share));
  }
  return microseconds(std::clamp(static_cast<int64_t>(std::ceil(std::min(seconds, 1e6) * 1e6)),
                                 kLeastWaitMicros, kMostWaitMicros));
}

RateLimiter::Turn::Turn(RateLimiter& limiter, Client& client, RequestKind kind, uint64_t bytes)
    : limiter_(limiter), client_(client), kind_(kind), bytes_(bytes) {}

RateLimiter::Turn::~Turn() {
  std::lock_guard lock(limiter_.mutex_);
  if (state_ == State::kWaiting) {
    limiter_.QueueOf(*this).erase(this);
  } else if (state_ == State::kGranted) {
    limiter_.bytes_.log += static_cast<double>(bytes_);  // the next Accrue keeps it within bounds
    limiter_.requests_.log += 1;
  }
}

microseconds RateLimiter::Turn::Ask() {
  std::lock_guard lock(limiter_.mutex_);
  if (state_ == State::kNew) {
    limiter_.Join(*this);
  }
  if (state_ == State::kWaiting) {
    limiter_.Grant();
  }
  return state_ == State::kWaiting ? limiter_.WaitOf(*this) : microseconds(0);
}

void RateLimiter::Turn::Use(uint64_t bytes) {
  std::lock_guard lock(limiter_.mutex_);
  if (state_ == State::kGranted) {
    limiter_.bytes_.log += static_cast<double>(bytes_) - static_cast<double>(bytes);
    state_ = State::kUsed;
  }
}

Throttle::Throttle(const std::vector<std::shared_ptr<RateLimiter>>& limiters) {
  for (const auto& limiter : limiters) {
    if (limiter) {
      places_.push_back({limiter, std::make_unique<RateLimiter::Client>()});
    }
  }
}

uint64_t Throttle::BytesPerSecond() const {
  uint64_t least = 0;
  for (const Place& place : places_) {
    const uint64_t rate = place.limiter->limits().bytes_per_second;
    least = rate == 0 ? least : least == 0 ? rate : std::min(least, rate);
  }
  return least;
}

Throttle::Turn::Turn(Throttle& throttle, RequestKind kind, uint64_t bytes) {
  for (const Place& place : throttle.places_) {
    turns_.push_back(
        std::make_unique<RateLimiter::Turn>(*place.limiter, *place.client, kind, bytes));
  }
}

microseconds Throttle::Turn::Ask() {
  for (const auto& turn : turns_) {
    if (const microseconds wait = turn->Ask(); wait.count() > 0) {
      return wait;
    }
  }
  return microseconds(0);
}

void Throttle::Turn::Use(uint64_t bytes) {
  for (const auto& turn : turns_) {
    turn->Use(bytes);
  }
}

}  // namespace sqlite_s3
