#pragma once
// RateLimiter: how many bytes and requests a second may go to a store. Those who ask take turns.
//
// The log goes first: an image gets a quarter while the log has something to send, and saves until
// its whole object is paid for; what the log leaves is its own too. So a large image delays a
// segment by no more than a third, and a log without end leaves images their quarter. Among clients
// turns are fair by what each has sent (fair queueing), not by how often it asks, and small objects
// need not wait for everybody's large ones.
//
// Nothing here waits and there is no thread: a Turn says how long to wait before it is asked again.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace sqlite_s3 {

struct RateLimits {
  uint64_t bytes_per_second = 0;     // sent; 0: no limit
  uint64_t requests_per_second = 0;  // 0: no limit
  bool operator==(const RateLimits&) const = default;
};

enum class RequestKind { kLog, kImage };  // kLog: everything but the objects of images

// Thread-safe. As much as one second's worth may go at once after a pause; an object that is larger
// goes when its turn comes, and is paid for afterwards.
class RateLimiter {
 public:
  explicit RateLimiter(const RateLimits& limits, const Clock& clock = Clock::Real());
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;

  void SetLimits(const RateLimits& limits);
  RateLimits limits() const;

  // Who takes turns, such as a database. May end before its limiter or after.
  class Client {
   private:
    friend class RateLimiter;
    double finish_[2] = {0, 0};  // by kind, in virtual seconds; guarded by the limiter's mutex
  };

  // One request that waits for its turn, or has it. Belongs to one thread at a time. Ends before
  // its limiter and client.
  class Turn {
   public:
    Turn(RateLimiter& limiter, Client& client, RequestKind kind, uint64_t bytes);
    // Gives up its place; if it had its turn and was not used, gives that back.
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // 0: it may go, once. Else the time after which to ask again: never longer than a second, for
    // limits may change.
    std::chrono::microseconds Ask();
    // REQUIRES: Ask said 0. It went, with so many bytes in the end.
    void Use(uint64_t bytes);

   private:
    friend class RateLimiter;
    enum class State { kNew, kWaiting, kGranted, kUsed };
    RateLimiter& limiter_;
    Client& client_;
    const RequestKind kind_;
    const uint64_t bytes_;
    // Guarded by the limiter's mutex.
    State state_ = State::kNew;
    double start_ = 0, finish_ = 0;  // virtual seconds
    uint64_t number_ = 0;
  };

 private:
  // What of a resource there is to spend now.
  struct Bucket {
    double rate = 0;   // a second; 0: no limit
    double log = 0;    // below zero: owed
    double image = 0;  // saved for the image that waits
  };
  struct Order {
    bool operator()(const Turn* a, const Turn* b) const {
      return a->finish_ != b->finish_ ? a->finish_ < b->finish_ : a->number_ < b->number_;
    }
  };
  using Queue = std::set<Turn*, Order>;

  // REQUIRES for all: mutex_.
  Queue& QueueOf(const Turn& turn);
  void Join(Turn& turn);
  void Accrue();
  void Grant();
  bool GrantNext();
  void GiveTurn(Turn& turn);
  std::chrono::microseconds WaitOf(const Turn& turn);

  const Clock& clock_;
  mutable std::mutex mutex_;
  Bucket bytes_, requests_;
  int64_t at_us_;               // what was earned is counted up to here
  double virtual_[2] = {0, 0};  // by kind: the start of the last turn that was given
  uint64_t next_number_ = 0;
  Queue small_, log_, image_;  // small_: of the log's kind, without bytes
};

// The limits that one database's requests are under: its own, and those that it shares.
class Throttle {
 public:
  // Limiters may be shared; null ones are left out.
  explicit Throttle(const std::vector<std::shared_ptr<RateLimiter>>& limiters);

  class Turn {
   public:
    Turn(Throttle& throttle, RequestKind kind, uint64_t bytes);
    // As RateLimiter::Turn's, of all of them: one is asked when the one before it said 0.
    std::chrono::microseconds Ask();
    void Use(uint64_t bytes);

   private:
    std::vector<std::unique_ptr<RateLimiter::Turn>> turns_;
  };

  // The least of their bytes a second; 0: no limit.
  uint64_t BytesPerSecond() const;

 private:
  struct Place {
    std::shared_ptr<RateLimiter> limiter;
    std::unique_ptr<RateLimiter::Client> client;
  };
  std::vector<Place> places_;
};

}  // namespace sqlite_s3
