#pragma once
// DirectoryScan: which databases lie in a directory now. Looks at names, and at the first bytes of
// files that are not known yet; opens nothing for writing and follows no symbolic link.

#include <functional>
#include <string>
#include <vector>

#include "agent/daemon/database_file.h"
#include "agent/daemon/directory_spec.h"

namespace sqlite_s3 {

struct DirectoryScan {
  std::string root;                      // the directory without symbolic links
  std::vector<std::string> databases;    // relative paths, in byte order
  std::vector<std::string> others;       // real paths of files that match but are no databases
  std::vector<std::string> directories;  // real paths of all that were read, to be watched
  // Something could not be read: what is not in `databases` may well be there. kNotFound: the
  // directory itself is not there.
  Status status;
};

// `known` says whether a path (absolute, below spec.path) is a database of this agent's already: it
// is listed when it matches and is a regular file, without being opened. Any thread; blocks.
DirectoryScan ScanDirectory(const DirectorySpec& spec, FileClaims& claims,
                            const std::function<bool(const std::string& path)>& known);

// What a directory has now, as databases to be shipped; first what went wrong with looking.
std::vector<Result<DatabaseSpec>> DatabasesNow(const DirectorySpec& directory);

}  // namespace sqlite_s3
