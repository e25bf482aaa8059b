#include "common/store/open_store.h"

#include "common/store/directory_store.h"
#include "common/store/memory_store.h"
#include "common/store/s3_store.h"

namespace sqlite_s3 {
namespace {

S3Opener& Libs3Opener() {
  static S3Opener opener = nullptr;
  return opener;
}

}  // namespace

void RegisterLibs3(S3Opener opener) { Libs3Opener() = opener; }

Result<std::shared_ptr<ObjectStore>> OpenStore(const StoreAddress& address) {
  if (address.scheme == "file") {
    return OpenDirectoryStore(
        {.path = address.path, .create = address.create, .read_only = address.read_only});
  }
  if (address.scheme == "memory") {
    return std::shared_ptr<ObjectStore>(MemoryStore::Shared(address.name));
  }
  if (address.scheme == "s3" && address.s3.client == "libs3") {
    if (Libs3Opener() == nullptr) {
      return UnimplementedError("option 'client': there is no libs3 in here, hint: client=libcurl");
    }
    return Libs3Opener()(address.s3, address.read_only);
  }
  if (address.scheme == "s3") {
    return OpenS3Store(
        {.address = address.s3, .read_only = address.read_only, .transports = address.transports});
  }
  return InvalidArgumentError("unknown kind of store \"" + address.scheme +
                              "\", known are: file, s3, memory");
}

}  // namespace sqlite_s3
