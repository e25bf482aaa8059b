#pragma once
// The directory driver: an ObjectStore in a folder of a local or network filesystem.
//
// The object "a/b" is the file a/b under the root. Only regular files whose path is a valid key are
// objects; symlinks, other files and names that no key can have are invisible, and a symlink under
// the root is never followed (the root itself may be one). Objects being written are in the folder
// "~tmp", a name that no key can have; those left behind by a crash are removed at open once they
// are an hour old. A directory that has lost its last object is removed.
//
// Beyond the contract: a key's segments are at most 255 bytes (kInvalidArgument), and "a" and "a/b"
// cannot both be objects (kFailedPrecondition). Delete is durable too. What a writer that died left
// visible is made durable before it is answered from: an object that was seen cannot be lost in a
// power loss.
//
// Thread-safe; several processes may use one root at once.

#include <memory>
#include <string>

#include "common/store/object_store.h"

namespace sqlite_s3 {

struct DirectoryStoreOptions {
  std::string path;
  bool create = false;     // make the directory (and its parents) if absent
  bool read_only = false;  // refuse writes with kPermissionDenied, change nothing, sync nothing
};

// kNotFound when the directory is absent and not to be created. SupportsConditionalPut() is true
// when the filesystem has hard links, or renames that refuse to replace; a read-only store says
// false.
Result<std::shared_ptr<ObjectStore>> OpenDirectoryStore(const DirectoryStoreOptions& options);

}  // namespace sqlite_s3
