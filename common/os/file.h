#pragma once
// Files and directories. Every function is thread-safe, retries EINTR, opens with O_CLOEXEC, throws
// nothing and reports errors as errno_status.h maps them, with the path in the message. `path`
// beside an Fd is for the message only.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/os/fd.h"

namespace sqlite_s3 {

enum class Durability {
  kVisible,  // a reader sees all or nothing, also when this process dies; a power loss may undo it
  kDurable,  // also survives a power loss, once OK was returned
};

// open(2) with O_CLOEXEC added. `mode` counts with O_CREAT and is subject to the umask.
Result<Fd> OpenFile(const std::string& path, int flags, mode_t mode = 0);
// openat(2), likewise; `name` is relative to `dir`.
Result<Fd> OpenFileAt(const Fd& dir, const std::string& name, int flags, mode_t mode = 0);

// Fills `out` from `offset`; less than out.size() only at the end of the file. Returns the count.
Result<size_t> ReadAt(const Fd& fd, uint64_t offset, std::span<uint8_t> out, std::string_view path);
// ReadAt, with kCorruption when the file ends before `out` is full.
Status ReadExactlyAt(const Fd& fd, uint64_t offset, std::span<uint8_t> out, std::string_view path);
// Writes all of `bytes` at `offset`. After an error any part of them may be in the file.
Status WriteAt(const Fd& fd, uint64_t offset, ByteSpan bytes, std::string_view path);
// Writes all of `bytes` at the descriptor's position.
Status WriteAll(const Fd& fd, ByteSpan bytes, std::string_view path);
Result<uint64_t> FileSize(const Fd& fd, std::string_view path);
Status TruncateFile(const Fd& fd, uint64_t size_bytes, std::string_view path);

// fdatasync(2): content and size. After an error the content on disk is unknown for good: Linux
// marks the pages clean, so that a second call may say OK for bytes that are lost. Write them again
// to a new file.
Status SyncFile(const Fd& fd, std::string_view path);
// fsync(2) on a directory: the entries made, replaced and removed in it so far are durable. The
// directory's own entry is its parent's business. A filesystem that cannot sync directories
// (EINVAL: some network ones, which have their own order of names) counts as synced.
Status SyncDirectory(const Fd& fd, std::string_view path);
Status SyncDirectory(const std::string& path);

// The whole file. kResourceExhausted when it holds more than max_bytes (nothing is allocated then);
// kFailedPrecondition when it is not a regular file.
Result<Bytes> ReadFile(const std::string& path, uint64_t max_bytes);

// Replaces or creates `path` in one step, through a temporary file beside it,
// ".<name>.tmp-<random>". Readers see the old file, or the new one, complete. A crash leaves the
// old or the new one, and perhaps the temporary file. After an error of the last step (syncing the
// directory) the new file is visible but perhaps not durable. `mode` is subject to the umask. A
// symlink at `path` is replaced, not followed.
Status WriteFileAtomically(const std::string& path, ByteSpan bytes, mode_t mode,
                           Durability durability);

// rename(2); with kDurable, then the directory of `to` is synced, and that of `from` if it is
// another one. The content is not: SyncFile first.
Status RenameFile(const std::string& from, const std::string& to, Durability durability);

// mkdir -p: existing directories are fine (also behind symlinks), kFailedPrecondition when a file
// is in the way. With kDurable, the entry of every directory it created is durable.
Status MakeDirectories(const std::string& path, mode_t mode, Durability durability);

// Names in byte order without "." and "..".
Result<std::vector<std::string>> ListDirectory(const std::string& path);

// unlink(2). OK also when there is nothing.
Status RemoveFile(const std::string& path);

Result<bool> FileExists(const std::string& path);  // of any type; follows symlinks

// Bytes that this user can still write on the filesystem of `path` (statvfs, f_bavail).
Result<uint64_t> FreeDiskSpace(const std::string& path);

// "" and "x" -> ".", "/x" -> "/", "a/b" -> "a".
std::string DirectoryOf(std::string_view path);

}  // namespace sqlite_s3
