#pragma once
// `verify`: whether the replica leads to the database as it is now. Its chain from an image to the
// head is complete, every link of it is right, every part of the image is there, and a commit of it
// has the checksum that the live pages have. `sqlite-s3-restore verify` replays everything; this is
// what can be asked of a running system each day.

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "agent/daemon/database_spec.h"
#include "agent/ship/engine.h"
#include "common/store/retrying_store.h"

namespace sqlite_s3 {

// `engine` ships the database; null: nobody does, and the head is compared. Any thread. Errors:
// kFailedPrecondition (without an engine: the database is not at the replica's head), kNotFound (an
// object is missing), kCorruption (the replica is damaged, or leads to another database),
// kUnavailable, kDeadlineExceeded. `pause` lets the time between two tries of a request pass;
// false: there shall be no other.
Result<nlohmann::ordered_json> VerifyDatabase(const DatabaseSpec& spec, Engine* engine,
                                              std::chrono::milliseconds timeout, RetryWaiter pause);

}  // namespace sqlite_s3
