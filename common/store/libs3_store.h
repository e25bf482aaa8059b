#pragma once
// The S3 driver over libs3 (?client=libs3), for endpoints that take Signature Version 2 only, and
// for libs3 4.x. The same contract, but: no conditional PUT, so SupportsConditionalPut() is false
// and PutIfAbsent looks before it writes; one request per object. libs3 2.0 also has no session
// tokens and no regions, and accepts every certificate, so it is used over http:// only. It takes
// any document without errors for an empty listing. Linked by programs, not by the library that
// lives in applications: it brings a second libcurl along.

#include "common/store/open_store.h"

namespace sqlite_s3 {

// kInvalidArgument: an option that libs3 cannot honour. REQUIRES, of libs3: the first call happens
// before other threads use it.
Result<std::shared_ptr<ObjectStore>> OpenLibs3Store(const S3Address& address, bool read_only);

}  // namespace sqlite_s3
