#include "tests/server/storage/power_loss.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "common/sqlite/connection.h"

namespace sqlite_s3::server {
namespace {

// A write or a truncation since the last sync.
struct Change {
  sqlite3_int64 offset = 0;
  std::string now;  // of a write
  bool truncates = false;
};

// One file's bytes at its last sync, and what came since.
struct Volatile {
  std::string synced;
  std::vector<Change> changes;
};

struct World {
  std::mutex mutex;
  sqlite3_vfs* real = nullptr;
  sqlite3_vfs ours{};
  long calls_left = 0;
  int seed = 0;
  std::map<std::string, Volatile> files;
};

World& TheWorld() {
  static World world;
  return world;
}

// What SQLite gave us room for: ours, and the real file behind it.
struct File {
  sqlite3_file base;
  const char* path;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

std::string Contents(const std::string& path) {
  std::string bytes;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char buffer[65536];
  for (ssize_t n; fd >= 0 && (n = ::read(fd, buffer, sizeof(buffer))) > 0;) {
    bytes.append(buffer, static_cast<size_t>(n));
  }
  if (fd >= 0) {
    ::close(fd);
  }
  return bytes;
}

[[noreturn]] void LosePower(World& world) {
  std::mt19937 random(static_cast<unsigned>(world.seed));
  for (const auto& [path, file] : world.files) {
    if (file.changes.empty() || ::access(path.c_str(), F_OK) != 0) {
      continue;
    }
    std::string bytes = file.synced;
    for (const Change& change : file.changes) {
      if (world.seed == 0 || random() % 2 == 0) {
        continue;
      }
      const auto offset = static_cast<size_t>(change.offset);
      if (change.truncates) {
        bytes.resize(offset);
      } else {
        bytes.resize(std::max(bytes.size(), offset + change.now.size()));
        bytes.replace(offset, change.now.size(), change.now);
      }
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, 0) != 0 ||
        ::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
      ::_exit(4);
    }
  }
  ::_exit(kPowerLossExit);
}

void Count(World& world) {
  if (--world.calls_left == 0) {
    LosePower(world);
  }
}

int Close(sqlite3_file* file) { return Of(file)->real()->pMethods->xClose(Of(file)->real()); }
int Read(sqlite3_file* file, void* out, int n, sqlite3_int64 at) {
  return Of(file)->real()->pMethods->xRead(Of(file)->real(), out, n, at);
}
int Write(sqlite3_file* file, const void* data, int n, sqlite3_int64 at) {
  World& world = TheWorld();
  std::lock_guard lock(world.mutex);
  Count(world);
  world.files[Of(file)->path].changes.push_back(
      {at, std::string(static_cast<const char*>(data), static_cast<size_t>(n)), false});
  return Of(file)->real()->pMethods->xWrite(Of(file)->real(), data, n, at);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  World& world = TheWorld();
  std::lock_guard lock(world.mutex);
  Count(world);
  world.files[Of(file)->path].changes.push_back({size, {}, true});
  return Of(file)->real()->pMethods->xTruncate(Of(file)->real(), size);
}
int Sync(sqlite3_file* file, int flags) {
  World& world = TheWorld();
  std::lock_guard lock(world.mutex);
  Count(world);
  const int rc = Of(file)->real()->pMethods->xSync(Of(file)->real(), flags);
  if (rc == SQLITE_OK) {
    world.files[Of(file)->path] = {Contents(Of(file)->path), {}};
  }
  return rc;
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Of(file)->real()->pMethods->xFileSize(Of(file)->real(), size);
}
int Lock(sqlite3_file* file, int level) {
  return Of(file)->real()->pMethods->xLock(Of(file)->real(), level);
}
int Unlock(sqlite3_file* file, int level) {
  return Of(file)->real()->pMethods->xUnlock(Of(file)->real(), level);
}
int CheckReservedLock(sqlite3_file* file, int* out) {
  return Of(file)->real()->pMethods->xCheckReservedLock(Of(file)->real(), out);
}
int FileControl(sqlite3_file* file, int op, void* argument) {
  return Of(file)->real()->pMethods->xFileControl(Of(file)->real(), op, argument);
}
int SectorSize(sqlite3_file* file) {
  return Of(file)->real()->pMethods->xSectorSize(Of(file)->real());
}
// Nothing that would let SQLite do without a sync.
int DeviceCharacteristics(sqlite3_file*) { return 0; }
int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  return Of(file)->real()->pMethods->xShmMap(Of(file)->real(), page, size, extend, out);
}
int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  return Of(file)->real()->pMethods->xShmLock(Of(file)->real(), offset, n, flags);
}
void ShmBarrier(sqlite3_file* file) { Of(file)->real()->pMethods->xShmBarrier(Of(file)->real()); }
int ShmUnmap(sqlite3_file* file, int remove) {
  return Of(file)->real()->pMethods->xShmUnmap(Of(file)->real(), remove);
}

// Version 2: with shared memory, without mmap, whose writes nobody would see.
constexpr sqlite3_io_methods kMethods = {2,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         nullptr,
                                         nullptr};

int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  World& world = TheWorld();
  std::lock_guard lock(world.mutex);
  Of(file)->path = path;
  Of(file)->base.pMethods = nullptr;
  const int rc = world.real->xOpen(world.real, path, Of(file)->real(), flags, out_flags);
  if (rc == SQLITE_OK) {
    Of(file)->base.pMethods = &kMethods;
    if (path != nullptr && !world.files.contains(path)) {
      world.files[path].synced = Contents(path);
    }
  }
  return rc;
}

int Delete(sqlite3_vfs*, const char* path, int sync_directory) {
  World& world = TheWorld();
  std::lock_guard lock(world.mutex);
  world.files.erase(path);
  return world.real->xDelete(world.real, path, sync_directory);
}

}  // namespace

void LosePowerAt(long k, int seed) {
  World& world = TheWorld();
  world.real = sqlite3_vfs_find(nullptr);
  world.calls_left = k;
  world.seed = seed;
  world.ours = *world.real;
  world.ours.zName = "power-loss";
  world.ours.szOsFile = static_cast<int>(sizeof(File)) + world.real->szOsFile;
  world.ours.xOpen = Open;
  world.ours.xDelete = Delete;
  if (sqlite3_vfs_register(&world.ours, 1) != SQLITE_OK) {
    std::abort();
  }
}

}  // namespace sqlite_s3::server
