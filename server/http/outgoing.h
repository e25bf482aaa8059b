#pragma once
// An answer on its way out, block by block, with what fault rules want of it.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "server/http/connection_watch.h"
#include "server/http/message.h"

namespace sqlite_s3::server {

// What a streamed answer needs; owned by whoever sends it.
struct Outgoing {
  Response response;
  WatchedConnection* watched = nullptr;
  int fd = -1;
  uint64_t sent = 0;
};

// The next bytes of the body, which begin at `position`; nullopt: the connection ends here, as the
// response says or because there are fewer bytes than were promised.
std::optional<size_t> NextBytes(Outgoing& out, uint64_t position, char* buffer, size_t max);

// The peer sees a reset at once, whatever is queued.
void ResetConnection(int fd);

}  // namespace sqlite_s3::server
