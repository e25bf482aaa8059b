#include "common/store/open_store.h"

#include "common/store/directory_store.h"
#include "common/store/memory_store.h"

namespace sqlite_s3 {

Result<std::shared_ptr<ObjectStore>> OpenStore(const StoreAddress& address) {
  if (address.scheme == "file") {
    return OpenDirectoryStore(
        {.path = address.path, .create = address.create, .read_only = address.read_only});
  }
  if (address.scheme == "memory") {
    return std::shared_ptr<ObjectStore>(MemoryStore::Shared(address.name));
  }
  return InvalidArgumentError("unknown kind of store \"" + address.scheme +
                              "\", known are: file, memory");
}

}  // namespace sqlite_s3
