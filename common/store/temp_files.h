#pragma once
// TempFiles: where a directory store's objects are written before they have their names, and how
// they get them: in one step that no reader can see half done.

#include <string>

#include "common/base/status.h"
#include "common/os/fd.h"
#include "common/store/directory_tree.h"

namespace sqlite_s3 {

// A file in the temporary directory; unlinked on destruction, under whatever names it has
// elsewhere.
struct TempFile {
  TempFile() = default;
  TempFile(TempFile&&) = default;
  TempFile(const TempFile&) = delete;
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile();
  Fd directory;
  Fd file;
  std::string name;
};

// Thread-safe after Prepare.
class TempFiles {
 public:
  // Of the tree, which must outlive this.
  explicit TempFiles(DirectoryTree& tree) : tree_(tree) {}

  // Finds out what the filesystem can do and removes what crashes left. REQUIRES: the tree may be
  // written.
  Status Prepare();
  // Whether Publish without `replace` is one step. False until Prepare.
  bool publishes_atomically() const { return create_by_ != CreateBy::kCheckAndRename; }

  Result<TempFile> Create();
  // Gives the file its final name. EEXIST when it has another file and is not to be replaced.
  // Returns 0 or an errno.
  int Publish(const TempFile& temp, const Fd& directory, const std::string& name, bool replace);

 private:
  enum class CreateBy { kLink, kRenameNoReplace, kCheckAndRename };
  Result<Fd> OpenDirectory();

  DirectoryTree& tree_;
  CreateBy create_by_ = CreateBy::kCheckAndRename;
};

}  // namespace sqlite_s3
