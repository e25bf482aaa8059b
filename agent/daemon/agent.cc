#include "agent/daemon/agent.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/os/errno_status.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;

constexpr size_t kTaskThreads = 8;
constexpr size_t kTaskThreadsBeyond = 120;  // while those hang that ask stores
constexpr size_t kRetryThreads = 16;
// Events are read this seldom: those of one file that follow each other become one, in the kernel,
// and a busy writer shares its processors with us.
constexpr int64_t kEventPauseMicros = 3'000;
constexpr milliseconds kStopGrace{500};

}  // namespace

Result<std::unique_ptr<Agent>> Agent::Create(Logger& log) {
  ASSIGN_OR_RETURN(DirectoryWatcher watcher, DirectoryWatcher::Open());
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) {
    return ErrnoStatus(errno, "open", "eventfd");
  }
  return std::unique_ptr<Agent>(new Agent(log, std::move(watcher), std::move(wake)));
}

Agent::Agent(Logger& log, DirectoryWatcher watcher, Fd wake)
    : log_(log),
      watcher_(std::move(watcher)),
      wake_(std::move(wake)),
      engine_threads_(std::make_shared<WorkPool>()),
      pool_(kTaskThreads, kTaskThreadsBeyond),
      retries_(kRetryThreads) {}

Agent::~Agent() { (void)StopAll(); }

void Agent::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));  // full means that it is awake
}

Status Agent::Add(DatabaseSpec spec) {
  RETURN_IF_ERROR(CheckSidecarOptions(spec.replica.ship));
  std::lock_guard lock(mutex_);
  const std::string path = spec.path;
  RETURN_IF_ERROR(AddEntry(std::move(spec), {}));
  let_go_.erase(path);
  return Status::Ok();
}

Status Agent::AddEntry(DatabaseSpec spec, Origin origin) {
  if (stopping_) {
    return CancelledError("the agent is stopping");
  }
  const std::string path = spec.path;
  if (entries_.contains(path)) {
    return AlreadyExistsError("database '" + path + "' is there already");
  }
  RETURN_IF_ERROR(homes_.Take(spec));
  Entry& entry = entries_[path];
  entry.task = std::make_shared<DatabaseTask>(std::move(spec), claims_, log_, engine_threads_,
                                              limits_, transports_, watches_);
  entry.origin = std::move(origin);
  due_.emplace(entry.due_us, &entry);
  Wake();
  return Status::Ok();
}

Status Agent::Remove(const std::string& path) {
  std::shared_ptr<DatabaseTask> task;
  {
    std::unique_lock lock(mutex_);
    auto at = entries_.find(path);
    if (stopping_) {
      return CancelledError("the agent is stopping");
    }
    if (at == entries_.end() || at->second.removing) {
      return NotFoundError("database '" + path + "' is not shipped by this agent");
    }
    at->second.removing = true;
    let_go_.insert(path);
    attended_.wait(lock, [&] { return !at->second.attending; });
    task = at->second.task;
  }
  Status stopped = task->Stop(task->spec().replica.ship.close_timeout);
  std::lock_guard lock(mutex_);
  EraseEntry(path);
  return stopped;
}

std::shared_ptr<DatabaseTask> Agent::Find(const std::string& path) const {
  std::lock_guard lock(mutex_);
  const auto at = entries_.find(path);
  return at == entries_.end() ? nullptr : at->second.task;
}

std::vector<std::shared_ptr<DatabaseTask>> Agent::All() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<DatabaseTask>> tasks;
  tasks.reserve(entries_.size());
  for (const auto& [path, entry] : entries_) {
    tasks.push_back(entry.task);
  }
  return tasks;
}

void Agent::AttendSoon(const std::string& path) {
  std::lock_guard lock(mutex_);
  const auto at = entries_.find(path);
  if (at != entries_.end()) {
    SetDue(at->second, 0);
    at->second.again = at->second.attending;
    Wake();
  }
}

bool Agent::AwaitAttended(milliseconds timeout, const std::function<bool()>& done) {
  std::unique_lock lock(mutex_);
  bool is_done = false;
  attended_.wait_for(lock, timeout, [&] { return (is_done = done()) || stopping_; });
  return is_done;
}

bool Agent::Pause(milliseconds pause) {
  std::unique_lock lock(mutex_);
  return !attended_.wait_for(lock, pause, [&] { return stopping_; });
}

void Agent::SetPrices(const Prices& prices) {
  std::lock_guard lock(mutex_);
  prices_ = prices;
}

Prices Agent::prices() const {
  std::lock_guard lock(mutex_);
  return prices_;
}

void Agent::Stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  attended_.notify_all();
  Wake();
}

void Agent::AddSource(int fd, std::function<void()> ready) {
  sources_.emplace_back(fd, std::move(ready));
}

void Agent::Run() {
  int64_t read_events_at = 0;
  std::vector<pollfd> fds;
  for (;;) {
    int64_t until = std::min({ScanDue(), AttendDue(), BusyDue()});
    {
      std::lock_guard lock(mutex_);
      if (stopping_) {
        return;
      }
    }
    if (on_all_attended_ && AllAttended()) {
      std::exchange(on_all_attended_, nullptr)();
    }
    const int64_t now = Now();
    const bool pause = now < read_events_at;
    if (pause) {
      until = std::min(until, read_events_at);
    }
    fds.clear();
    fds.push_back({wake_.get(), POLLIN, 0});
    fds.push_back({pause ? -1 : watcher_.fd(), POLLIN, 0});
    for (const auto& source : sources_) {
      fds.push_back({source.first, POLLIN, 0});
    }
    // Rounded up: a poll that ends before its time would be made again at once.
    const int64_t wait_ms = std::clamp<int64_t>((until - now + 999) / 1000, 0, 3'600'000);
    if (poll(fds.data(), fds.size(), static_cast<int>(wait_ms)) <= 0) {
      continue;
    }
    if (fds[0].revents != 0) {
      uint64_t count = 0;
      (void)!read(wake_.get(), &count, sizeof(count));
    }
    if (fds[1].revents != 0) {
      watcher_.Dispatch([this](const std::string& directory, std::string_view name,
                               FileEvent event) { OnFileEvent(directory, name, event); });
      read_events_at = Now() + kEventPauseMicros;
    }
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (fds[i + 2].revents != 0) {
        sources_[i].second();
      }
    }
  }
}

void Agent::SetDue(Entry& entry, int64_t due_us) {
  const bool queued = due_.erase({entry.due_us, &entry}) > 0;
  entry.due_us = due_us;
  if (queued) {
    due_.emplace(due_us, &entry);
  }
}

void Agent::Attend(const std::string& path, Entry& entry) {
  due_.erase({entry.due_us, &entry});
  entry.attending = true;
  entry.again = false;
  const bool watched = WatchFiles(entry);
  ResumeEventsOf(entry);
  TaskPool& pool = entry.task->StoreWasAway() ? retries_ : pool_;
  pool.Post([this, path, watched, task = entry.task] {
    const milliseconds next = task->Attend(watched);
    std::lock_guard lock(mutex_);
    Entry& attended = entries_.at(path);  // Remove waits for us
    attended.attending = false;
    attended.attended = true;
    attended.due_us = Now() + (attended.again ? kSoonMicros : next.count() * 1000);
    if (!attended.removing) {
      due_.emplace(attended.due_us, &attended);
    }
    attended_.notify_all();
    Wake();
  });
}

int64_t Agent::AttendDue() {
  std::lock_guard lock(mutex_);
  const int64_t now = Now();
  while (!stopping_ && !due_.empty() && due_.begin()->first <= now) {
    Entry& entry = *due_.begin()->second;
    if (entry.removing) {
      due_.erase(due_.begin());
    } else {
      Attend(entry.task->spec().path, entry);
    }
  }
  return std::min(now + kFarMicros, due_.empty() ? INT64_MAX : due_.begin()->first);
}

bool Agent::AllAttended() const {
  std::lock_guard lock(mutex_);
  return std::all_of(directories_.begin(), directories_.end(),
                     [](const auto& directory) { return directory->scanned != 0; }) &&
         std::all_of(entries_.begin(), entries_.end(),
                     [](const auto& at) { return at.second.attended; });
}

Status Agent::StopAll(bool look_once_more, bool* abandoned) {
  // The tasks may outlive this call.
  struct Progress {
    std::mutex mutex;
    Status first;
  };
  const auto progress = std::make_shared<Progress>();
  const int64_t since = Now();
  int64_t longest = 0;
  auto stop = [this, progress, since, look_once_more](const std::string& path) {
    std::shared_ptr<DatabaseTask> task;
    {
      std::unique_lock lock(mutex_);
      const Entry& entry = entries_.at(path);  // nothing is removed any more
      attended_.wait(lock, [&] { return !entry.attending; });
      task = entry.task;
    }
    if (look_once_more && !task->engine()) {
      (void)task->Attend(false);  // what it waits for is in the log
    }
    // The bound is one for all, however many there are.
    const int64_t bound = task->spec().replica.ship.close_timeout.count() * 1000;
    const int64_t left = std::max<int64_t>(bound - (Now() - since), 0);
    const Status stopped = task->Stop(milliseconds(left / 1000));
    if (!stopped.ok()) {
      log_.Write(LogLevel::kWarning, path, stopped.ToString(), {.code = stopped.code()});
      std::lock_guard lock(progress->mutex);
      if (progress->first.ok()) {
        progress->first = stopped.WithContext(path);
      }
    }
  };
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    attended_.notify_all();
    // Those that are being attended to last: they may hang, and threads are few.
    for (const bool attending : {false, true}) {
      for (const auto& [path, entry] : entries_) {
        longest = std::max<int64_t>(longest, entry.task->spec().replica.ship.close_timeout.count());
        if (!entry.removing && entry.attending == attending) {
          pool_.Post([stop, path = path] { stop(path); });
        }
      }
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(longest) + kStopGrace;
  if (abandoned != nullptr && !(pool_.WaitIdle(deadline) && retries_.WaitIdle(deadline))) {
    *abandoned = true;
    return DeadlineExceededError(
        "the store does not answer: what was not sent goes out at the next start");
  }
  pool_.Finish();
  retries_.Finish();
  return progress->first;
}

}  // namespace sqlite_s3
