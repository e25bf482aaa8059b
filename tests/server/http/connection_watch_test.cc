#include "server/http/connection_watch.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <vector>

namespace sqlite_s3::server {
namespace {

using std::chrono::seconds;

// A connection whose peer can tell whether it was cut off.
class Peer {
 public:
  explicit Peer(ConnectionWatch& watch) : watch_(watch) {
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_), 0);
    watched_ = watch_.Opened(fds_[0]);
  }
  ~Peer() {
    watch_.Closed(watched_);
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  WatchedConnection* operator->() { return watched_; }
  WatchedConnection* get() { return watched_; }
  bool was_cut() const {
    char byte = 0;
    return ::recv(fds_[1], &byte, 1, MSG_DONTWAIT) == 0;
  }

 private:
  ConnectionWatch& watch_;
  int fds_[2];
  WatchedConnection* watched_;
};

class ConnectionWatchTest : public testing::Test {
 protected:
  ConnectionWatchTest() : watch_(clock_, Limits()) {}
  static Patience Limits() {
    Patience patience;
    patience.head = seconds(60);
    patience.body = seconds(30);
    patience.min_bytes_per_second = 1000;
    patience.max_connections = 3;
    return patience;
  }
  // A request whose body the server waits for.
  void Begin(Peer& peer) {
    watch_.RequestBegan(peer.get());
    peer->WaitingAfterReceiving(0);
  }
  // Bytes every second, for so long; the connection's thread and the watch as they would.
  void Receive(Peer& peer, uint64_t per_second, int for_seconds) {
    for (int i = 0; i < for_seconds; ++i) {
      Pass(seconds(1));
      peer->Working();
      peer->WaitingAfterReceiving(per_second);
    }
  }
  void Pass(std::chrono::microseconds time) {
    clock_.Advance(time);
    watch_.Check();
  }
  FakeClock clock_;
  ConnectionWatch watch_;
};

TEST_F(ConnectionWatchTest, AHeadHasItsTimeHoweverItTrickles) {
  Peer peer(watch_);
  Pass(seconds(59));
  EXPECT_FALSE(peer.was_cut());
  Pass(seconds(2));
  EXPECT_TRUE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, TheTimeForAHeadBeginsAnewWithEachRequestsEnd) {
  Peer peer(watch_);
  Pass(seconds(50));
  Begin(peer);
  watch_.RequestEnded(peer.get());
  Pass(seconds(50));
  EXPECT_FALSE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, ABodyBelowTheLeastRateIsCutOffThoughItNeverStops) {
  Peer peer(watch_);
  Begin(peer);
  Receive(peer, 100, 33);  // a tenth of the rate: 0.9 seconds behind each second
  EXPECT_FALSE(peer.was_cut());
  Receive(peer, 100, 2);
  EXPECT_TRUE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, ABodyAtTheLeastRateMayTakeForEver) {
  Peer peer(watch_);
  Begin(peer);
  Receive(peer, 1000, 10'000);
  EXPECT_FALSE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, BytesThatCameFastBuyNoMoreThanTheTimeThereIs) {
  Peer peer(watch_);
  Begin(peer);
  Receive(peer, 1'000'000'000, 10);
  Pass(seconds(31));
  EXPECT_TRUE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, WhatTheServerTakesIsNotTheClientsTime) {
  Peer peer(watch_);
  Begin(peer);
  for (int i = 0; i < 10; ++i) {
    peer->Working();
    Pass(seconds(100));
    peer->WaitingAfterReceiving(0);
  }
  EXPECT_FALSE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, AnAnswerIsGivenTheTimeThatItsBytesTakeAtTheLeastRate) {
  Peer peer(watch_);
  Begin(peer);
  peer->Working();
  peer->WaitingAfterSending(100'000);
  Pass(seconds(129));
  EXPECT_FALSE(peer.was_cut());
  Pass(seconds(2));
  EXPECT_TRUE(peer.was_cut());
}

TEST_F(ConnectionWatchTest, OneTooManyTakesThePlaceOfWhoHasBeenIdleLongest) {
  Peer busy(watch_);
  Begin(busy);
  Peer idle(watch_);
  Pass(seconds(1));
  Peer fresh(watch_);
  Peer newcomer(watch_);
  EXPECT_TRUE(idle.was_cut());
  EXPECT_FALSE(busy.was_cut());
  EXPECT_FALSE(fresh.was_cut());
  EXPECT_FALSE(newcomer.was_cut());
}

TEST_F(ConnectionWatchTest, WithoutIdleOnesTheSlowestBodyGivesItsPlace) {
  Peer fast(watch_);
  Begin(fast);
  Peer slow(watch_);
  Begin(slow);
  Peer slower(watch_);
  Begin(slower);
  for (int i = 0; i < 20; ++i) {
    Pass(seconds(1));
    fast->Working();
    fast->WaitingAfterReceiving(5000);
    slow->Working();
    slow->WaitingAfterReceiving(200);
  }
  Peer newcomer(watch_);
  EXPECT_TRUE(slower.was_cut());
  EXPECT_FALSE(slow.was_cut());
  EXPECT_FALSE(fast.was_cut());
  EXPECT_FALSE(newcomer.was_cut());
}

TEST_F(ConnectionWatchTest, AmongRequestsThatAllGoOnTheNewcomerIsRefused) {
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<Peer>(watch_));
    Begin(*peers.back());
  }
  Peer newcomer(watch_);
  EXPECT_TRUE(newcomer.was_cut());
  for (const auto& peer : peers) {
    EXPECT_FALSE(peer->was_cut());
  }
}

TEST_F(ConnectionWatchTest, WhoIsBeingClosedIsNotCountedTwice) {
  Peer one(watch_);
  Pass(seconds(1));
  Peer two(watch_);
  Pass(seconds(1));
  Peer three(watch_);
  Pass(seconds(1));
  Peer four(watch_);  // `one` goes, but has not closed yet
  Pass(seconds(1));
  Peer five(watch_);
  EXPECT_TRUE(one.was_cut());
  EXPECT_TRUE(two.was_cut());
  EXPECT_FALSE(three.was_cut());
  EXPECT_FALSE(four.was_cut());
  EXPECT_FALSE(five.was_cut());
}

}  // namespace
}  // namespace sqlite_s3::server
