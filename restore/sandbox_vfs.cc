#include "restore/sandbox_vfs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>

namespace sqlite_s3 {

namespace {

constexpr int64_t kUnixEpochInJulianMs = 210866760000000;  // sqlite.org/c3ref/vfs.html

enum class Kind { kDatabase, kWal, kTemporary };

}  // namespace

struct SandboxFile : sqlite3_file {
  SandboxVfs* vfs;
  Kind kind;
  Bytes* content;  // of a temporary file, owned

  static SandboxFile& Of(sqlite3_file* file) { return *static_cast<SandboxFile*>(file); }
  Bytes& bytes() { return kind == Kind::kWal ? vfs->wal_ : *content; }

  static int Close(sqlite3_file* file) {
    SandboxFile& f = Of(file);
    if (f.kind == Kind::kTemporary) {
      f.vfs->used_ -= f.content->size();
      delete f.content;
      f.content = nullptr;
    }
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
    SandboxFile& f = Of(file);
    auto* to = static_cast<uint8_t*>(out);
    const auto at = static_cast<uint64_t>(offset);
    const auto wanted = static_cast<size_t>(size);
    if (f.kind == Kind::kDatabase) {
      return f.vfs->Read(at, {to, wanted});
    }
    const Bytes& bytes = f.bytes();
    const size_t there = at < bytes.size() ? std::min(wanted, bytes.size() - at) : 0;
    std::memcpy(to, bytes.data() + (there > 0 ? at : 0), there);
    std::memset(to + there, 0, wanted - there);
    return there == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static int Write(sqlite3_file* file, const void* from, int size, sqlite3_int64 offset) try {
    SandboxFile& f = Of(file);
    if (f.kind == Kind::kDatabase) {
      return SQLITE_OK;  // a checkpoint of what the page store has already
    }
    Bytes& bytes = f.bytes();
    const auto at = static_cast<uint64_t>(offset);
    const uint64_t end = at + static_cast<uint64_t>(size);
    if (end > bytes.size()) {
      if (!f.vfs->MayGrow(end - bytes.size())) {
        return SQLITE_FULL;
      }
      f.vfs->used_ += end - bytes.size();
      if (end > bytes.capacity()) {
        bytes.reserve(std::max<uint64_t>(end, bytes.capacity() * 2));
      }
      bytes.resize(end);
    }
    std::memcpy(bytes.data() + at, from, static_cast<size_t>(size));
    if (f.kind == Kind::kWal && at == 0) {
      f.vfs->wal_restarted_ = true;
    }
    return SQLITE_OK;
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }

  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    SandboxFile& f = Of(file);
    if (f.kind == Kind::kDatabase) {
      return SQLITE_OK;
    }
    Bytes& bytes = f.bytes();
    if (static_cast<uint64_t>(size) < bytes.size()) {
      f.vfs->used_ -= bytes.size() - static_cast<uint64_t>(size);
      bytes.resize(static_cast<size_t>(size));
    }
    return SQLITE_OK;
  }

  static int Sync(sqlite3_file*, int) { return SQLITE_OK; }

  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    SandboxFile& f = Of(file);
    *size = f.kind == Kind::kDatabase
                ? sqlite3_int64{f.vfs->pages_.page_count()} * f.vfs->page_size_
                : static_cast<sqlite3_int64>(f.bytes().size());
    return SQLITE_OK;
  }

  static int Lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int CheckReservedLock(sqlite3_file*, int* reserved) {
    *reserved = 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return 4096; }
  static int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
};

namespace {

// Version 1: no shared memory, so that the wal-index is private memory of the one connection.
constexpr sqlite3_io_methods kMethods = {
    1,
    SandboxFile::Close,
    SandboxFile::Read,
    SandboxFile::Write,
    SandboxFile::Truncate,
    SandboxFile::Sync,
    SandboxFile::FileSize,
    SandboxFile::Lock,
    SandboxFile::Lock,
    SandboxFile::CheckReservedLock,
    SandboxFile::FileControl,
    SandboxFile::SectorSize,
    SandboxFile::DeviceCharacteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

sqlite3_vfs* Base() { return sqlite3_vfs_find(nullptr); }
void* NoOpen(sqlite3_vfs*, const char*) { return nullptr; }
void NoError(sqlite3_vfs*, int size, char* message) {
  sqlite3_snprintf(size, message, "nothing is loaded here");
}
void (*NoSymbol(sqlite3_vfs*, void*, const char*))(void) { return nullptr; }
void NoClose(sqlite3_vfs*, void*) {}
int Sleep(sqlite3_vfs*, int) { return 0; }
int LastError(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

int SandboxVfs::Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags,
                     int* out_flags) {
  auto* self = static_cast<SandboxVfs*>(vfs->pAppData);
  auto& f = *static_cast<SandboxFile*>(file);
  f.pMethods = nullptr;
  f.vfs = self;
  f.content = nullptr;
  if (name == nullptr) {
    f.kind = Kind::kTemporary;
    f.content = new (std::nothrow) Bytes;
    if (f.content == nullptr) {
      return SQLITE_NOMEM;
    }
  } else if (std::string_view(name) == kDatabase && (flags & SQLITE_OPEN_MAIN_DB) != 0) {
    f.kind = Kind::kDatabase;
  } else if (std::string_view(name) == kWal && (flags & SQLITE_OPEN_WAL) != 0) {
    f.kind = Kind::kWal;
    self->has_wal_ = true;
  } else {
    return SQLITE_CANTOPEN;
  }
  f.pMethods = &kMethods;
  if (out_flags != nullptr) {
    *out_flags = flags;
  }
  return SQLITE_OK;
}

SandboxVfs::SandboxVfs(PageStore& pages, uint32_t page_size, uint64_t most_bytes)
    : pages_(pages),
      page_size_(page_size),
      most_bytes_(most_bytes),
      name_(fmt::format("sqlite_s3_sandbox_{}", static_cast<void*>(this))) {
  vfs_.iVersion = 2;
  vfs_.szOsFile = sizeof(SandboxFile);
  vfs_.mxPathname = 256;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Open;
  vfs_.xDelete = [](sqlite3_vfs* vfs, const char* name, int) {
    if (std::string_view(name) == kWal) {
      static_cast<SandboxVfs*>(vfs->pAppData)->DropWal();
    }
    return SQLITE_OK;
  };
  vfs_.xAccess = [](sqlite3_vfs* vfs, const char* name, int, int* there) {
    const auto* self = static_cast<const SandboxVfs*>(vfs->pAppData);
    *there =
        std::string_view(name) == kDatabase || (std::string_view(name) == kWal && self->has_wal_)
            ? 1
            : 0;
    return SQLITE_OK;
  };
  vfs_.xFullPathname = [](sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
  };
  vfs_.xDlOpen = NoOpen;
  vfs_.xDlError = NoError;
  vfs_.xDlSym = NoSymbol;
  vfs_.xDlClose = NoClose;
  vfs_.xRandomness = [](sqlite3_vfs*, int size, char* out) {
    return Base()->xRandomness(Base(), size, out);
  };
  vfs_.xSleep = Sleep;
  vfs_.xCurrentTime = [](sqlite3_vfs* vfs, double* days) {
    auto* self = static_cast<SandboxVfs*>(vfs->pAppData);
    self->clock_asked_ = true;
    const int64_t ms = self->clock_us_ / 1000 + kUnixEpochInJulianMs;
    *days = static_cast<double>(ms) / 86400000.0;
    return SQLITE_OK;
  };
  vfs_.xGetLastError = LastError;
  vfs_.xCurrentTimeInt64 = [](sqlite3_vfs* vfs, sqlite3_int64* ms) {
    auto* self = static_cast<SandboxVfs*>(vfs->pAppData);
    self->clock_asked_ = true;
    *ms = self->clock_us_ / 1000 + kUnixEpochInJulianMs;
    return SQLITE_OK;
  };
  sqlite3_initialize();
  sqlite3_vfs_register(&vfs_, 0);
}

SandboxVfs::~SandboxVfs() { sqlite3_vfs_unregister(&vfs_); }

bool SandboxVfs::TakeWalRestarted() { return std::exchange(wal_restarted_, false); }

void SandboxVfs::DropWal() {
  used_ -= wal_.size();
  wal_.clear();
  has_wal_ = false;
}

// SQLite reads whole pages, and the first 100 bytes.
int SandboxVfs::Read(uint64_t offset, std::span<uint8_t> out) {
  const uint64_t page = offset / page_size_ + 1;
  const uint64_t within = offset % page_size_;
  std::memset(out.data(), 0, out.size());
  if (page > pages_.page_count()) {
    return SQLITE_IOERR_SHORT_READ;
  }
  if (within + out.size() > page_size_) {
    return SQLITE_IOERR_READ;
  }
  auto content = pages_.Read(static_cast<PageNumber>(page));
  if (!content.ok()) {
    return SQLITE_IOERR_READ;
  }
  std::memcpy(out.data(), content->data() + within, out.size());
  return SQLITE_OK;
}

}  // namespace sqlite_s3
