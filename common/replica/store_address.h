#pragma once
// Where the configuration's replica meets the store's address: neither knows the other.

#include "common/config/options.h"
#include "common/store/open_store.h"

namespace sqlite_s3 {

enum class StoreUse { kShip, kRead };

// kShip makes the directory of a file replica if it is absent; kRead refuses writes.
StoreAddress AddressOf(const ReplicaLocation& location, StoreUse use);

}  // namespace sqlite_s3
