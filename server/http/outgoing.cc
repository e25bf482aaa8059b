#include "server/http/outgoing.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

namespace sqlite_s3::server {
namespace {

// What was sent has arrived at the peer, or a second is over: a reset would overtake it. No event
// tells that, so it is looked at every millisecond; only fault rules come here.
void AwaitDelivery(int fd) {
  int off = 0;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
  for (int i = 0; i < 1000; ++i) {
    int queued = 0;
    if (::ioctl(fd, SIOCOUTQ, &queued) != 0 || queued == 0) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Holds a throttled answer to its rate; a second's worth at most in one go.
size_t Throttle(Outgoing& out, size_t max) {
  const uint64_t rate = out.response.bytes_per_second;
  if (rate == 0) {
    return max;
  }
  const uint64_t slice = std::max<uint64_t>(1, rate / 10);
  const size_t take = static_cast<size_t>(std::min<uint64_t>(max, slice));
  std::this_thread::sleep_for(std::chrono::microseconds(take * 1'000'000 / rate));
  return take;
}

}  // namespace

// Dissolving the association sends a reset at once, whatever is queued (connect(2), AF_UNSPEC).
void ResetConnection(int fd) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  (void)::connect(fd, &nobody, sizeof(nobody));  // an error: it is gone already
}

std::optional<size_t> NextBytes(Outgoing& out, uint64_t position, char* buffer, size_t max) {
  Response& response = out.response;
  if (response.cut_after) {
    if (out.sent >= *response.cut_after) {
      AwaitDelivery(out.fd);
      if (response.ending == Ending::kReset) {
        ResetConnection(out.fd);
      }
      return std::nullopt;
    }
    max = static_cast<size_t>(std::min<uint64_t>(max, *response.cut_after - out.sent));
  }
  max = Throttle(out, max);
  size_t n = 0;
  if (response.stream) {
    Result<size_t> read = response.stream->Read({reinterpret_cast<uint8_t*>(buffer), max});
    if (!read.ok()) {
      return std::nullopt;
    }
    n = *read;
  } else if (position < response.body.size()) {
    n = std::min(max, response.body.size() - static_cast<size_t>(position));
    std::memcpy(buffer, response.body.data() + position, n);
  }
  if (n == 0) {  // fewer bytes than were promised
    return std::nullopt;
  }
  out.sent += n;
  return n;
}

}  // namespace sqlite_s3::server
