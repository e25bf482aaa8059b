#include "server/storage/bucket_set.h"

#include <sys/stat.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "common/base/ids.h"
#include "common/os/file.h"
#include "common/os/file_lock.h"
#include "server/storage/bucket_files.h"
#include "server/storage/bucket_impl.h"

namespace sqlite_s3::server {
namespace {

// Which buckets have something to do. Outlives the set: a bucket in flight may still ring.
struct Doorbell {
  std::mutex mutex;
  std::condition_variable rung;
  std::map<const void*, std::weak_ptr<BucketImpl>> due;
  bool stop = false;
};

class BucketSetImpl final : public BucketSet {
 public:
  BucketSetImpl(std::string directory, const StorageOptions& options, std::optional<FileLock> lock)
      : files_(std::move(directory)), options_(options), lock_(std::move(lock)) {
    if (options_.background_maintenance && !options_.read_only) {
      maintenance_ = std::thread([this] { MaintainUntilStopped(); });
    }
  }
  ~BucketSetImpl() override {
    {
      std::lock_guard lock(doorbell_->mutex);
      doorbell_->stop = true;
      doorbell_->rung.notify_all();
    }
    if (maintenance_.joinable()) {
      maintenance_.join();
    }
  }

  StorageResult<std::shared_ptr<Bucket>> Create(const std::string& name,
                                                const std::string& owner) override;
  StorageStatus Delete(const std::string& name) override;
  StorageResult<std::shared_ptr<Bucket>> Get(const std::string& name) override;
  StorageResult<std::vector<BucketInfo>> List() override;

 private:
  StorageResult<std::shared_ptr<BucketImpl>> GetLocked(const std::string& name);
  void MaintainUntilStopped();

  const BucketFiles files_;
  const StorageOptions options_;
  const std::optional<FileLock> lock_;
  const std::shared_ptr<Doorbell> doorbell_ = std::make_shared<Doorbell>();
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<BucketImpl>> open_;
  std::thread maintenance_;
};

StorageResult<std::shared_ptr<BucketImpl>> BucketSetImpl::GetLocked(const std::string& name) {
  if (auto found = open_.find(name); found != open_.end()) {
    return found->second;
  }
  StorageStatus missing(Reason::kNoSuchBucket, "no bucket '" + name + "'");
  if (!IsValidBucketName(name)) {
    return missing;
  }
  ASSIGN_OR_RETURN(bool exists, FileExists(files_.PathOf(name)));
  if (!exists) {
    return missing;
  }
  // The bucket rings with a pointer to itself that does not keep it alive.
  auto self = std::make_shared<std::weak_ptr<BucketImpl>>();
  auto wake = [doorbell = doorbell_, self] {
    std::lock_guard lock(doorbell->mutex);
    doorbell->due[self.get()] = *self;
    doorbell->rung.notify_one();
  };
  ASSIGN_OR_RETURN(auto bucket, BucketImpl::Open(files_.PathOf(name), name, options_, wake));
  *self = bucket;
  open_[name] = bucket;
  bucket->SweepLater();
  return bucket;
}

StorageResult<std::shared_ptr<Bucket>> BucketSetImpl::Get(const std::string& name) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(auto bucket, GetLocked(name));
  return std::shared_ptr<Bucket>(std::move(bucket));
}

StorageResult<std::shared_ptr<Bucket>> BucketSetImpl::Create(const std::string& name,
                                                             const std::string& owner) {
  if (options_.read_only) {
    return StorageStatus(Reason::kReadOnly, "the server is read-only");
  }
  if (!IsValidBucketName(name)) {
    return StorageStatus(Reason::kInvalidBucketName, "'" + name + "' is no name for a bucket");
  }
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(bool exists, FileExists(files_.PathOf(name)));
  if (exists) {
    return StorageStatus(Reason::kBucketAlreadyExists, "bucket '" + name + "' exists");
  }
  const Status made = files_.Create(name, owner, options_.clock->WallMicros());
  if (made.code() == StatusCode::kFailedPrecondition) {
    return StorageStatus(Reason::kInvalidBucketState, made.message());
  }
  if (!made.ok()) {
    return made.WithContext("cannot create bucket '" + name + "'");
  }
  auto bucket = GetLocked(name);
  if (!bucket.ok()) {  // a disk that is full now: after an error there is no bucket
    (void)files_.Discard(name);
    return bucket.status();
  }
  return std::shared_ptr<Bucket>(*std::move(bucket));
}

StorageStatus BucketSetImpl::Delete(const std::string& name) {
  if (options_.read_only) {
    return {Reason::kReadOnly, "the server is read-only"};
  }
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(auto bucket, GetLocked(name));
  const StorageStatus retired = bucket->Retire([&] {
    const Status deleted = files_.Delete(name);
    const Result<bool> still = FileExists(files_.PathOf(name));
    // Renamed, but perhaps not durably: nothing may be written to it all the same.
    return still.ok() && !*still ? Status::Ok() : deleted;
  });
  RETURN_IF_STORAGE_ERROR(retired);
  open_.erase(name);
  (void)files_.FinishDelete(name);  // else Create or the next start does it
  return {};
}

StorageResult<std::vector<BucketInfo>> BucketSetImpl::List() {
  ASSIGN_OR_RETURN(std::vector<std::string> names, files_.Names());
  std::vector<BucketInfo> buckets;
  for (const std::string& name : names) {
    std::lock_guard lock(mutex_);
    auto bucket = GetLocked(name);
    if (bucket.ok()) {
      buckets.push_back((*bucket)->Info());
      continue;
    }
    struct stat info {};
    if (::stat(files_.PathOf(name).c_str(), &info) == 0) {
      buckets.push_back({name, info.st_mtim.tv_sec * int64_t{1'000'000}, ""});
    }
  }
  std::sort(buckets.begin(), buckets.end(),
            [](const BucketInfo& a, const BucketInfo& b) { return a.name < b.name; });
  return buckets;
}

void BucketSetImpl::MaintainUntilStopped() {
  std::unique_lock lock(doorbell_->mutex);
  while (true) {
    doorbell_->rung.wait(lock, [&] { return doorbell_->stop || !doorbell_->due.empty(); });
    if (doorbell_->stop) {
      return;
    }
    auto bucket = doorbell_->due.begin()->second.lock();
    doorbell_->due.erase(doorbell_->due.begin());
    lock.unlock();
    if (bucket) {
      // What failed (a full disk, a damaged file) fails requests too, which say so; the next write
      // or sweep rings again.
      (void)bucket->Maintain();
      bucket.reset();
    }
    lock.lock();
  }
}

bool IsLowerAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

}  // namespace

bool IsValidBucketName(std::string_view name) {
  if (name.size() < 3 || name.size() > 63 || !IsLowerAlphanumeric(name.front()) ||
      !IsLowerAlphanumeric(name.back())) {
    return false;
  }
  char last = 'a';
  bool only_digits_and_dots = true;
  int dots = 0;
  for (char c : name) {
    if (!IsLowerAlphanumeric(c) && c != '-' && c != '.') {
      return false;
    }
    if ((c == '.' && (last == '.' || last == '-')) || (c == '-' && last == '.')) {
      return false;
    }
    dots += c == '.';
    only_digits_and_dots = only_digits_and_dots && (c == '.' || (c >= '0' && c <= '9'));
    last = c;
  }
  if (only_digits_and_dots && dots == 3) {
    return false;
  }
  for (std::string_view prefix : {"xn--", "sthree-", "amzn-s3-demo-"}) {
    if (name.starts_with(prefix)) {
      return false;
    }
  }
  for (std::string_view suffix : {"-s3alias", "--ol-s3", ".mrap", "--x-s3"}) {
    if (name.ends_with(suffix)) {
      return false;
    }
  }
  return true;
}

Result<std::unique_ptr<BucketSet>> BucketSet::Open(const std::string& directory,
                                                   const StorageOptions& options) {
  // A directory that is not there is no empty one.
  RETURN_IF_ERROR(ListDirectory(directory).status());
  std::optional<FileLock> lock;
  if (!options.read_only) {
    auto taken = FileLock::TryAcquire(directory + "/.sqlite-s3-server.lock");
    if (!taken.ok()) {
      return taken.status().WithContext("cannot serve '" + directory + "'");
    }
    lock = std::move(taken).value();
    RETURN_IF_ERROR(BucketFiles(directory).CleanUp());
  }
  return std::unique_ptr<BucketSet>(
      std::make_unique<BucketSetImpl>(directory, options, std::move(lock)));
}

}  // namespace sqlite_s3::server
