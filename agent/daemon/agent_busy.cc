// Directories whose writes are not told of. An event costs the writer half a microsecond for each
// of the two writes of a commit, a tenth of its throughput when it commits as fast as it can
// (bench/sidecar_overhead, docs/adr/0014); and its engine looks by the clock then anyway. So do,
// meanwhile, those of its neighbours.

#include <algorithm>

#include "agent/daemon/agent.h"
#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr int kBusyEvents = 8;              // in a row, of kEventPauseMicros each
constexpr int kTriesLater = 100;            // events: a third of a second at least
constexpr size_t kMostNeighbours = 16;      // each looks a hundred times a second
constexpr int64_t kLookMicros = 100'000;    // whether it is still busy
constexpr int64_t kScanMicros = 1'000'000;  // for databases that are new

}  // namespace

void Agent::NoteWritten(Entry& entry) {
  if (entry.task->FramesPerSecond() < busy_rate_) {
    entry.busy_events = 0;
  } else if (++entry.busy_events >= kBusyEvents) {
    entry.busy_events = StopEvents(DirectoryOf(entry.real_file)) ? 0 : -kTriesLater;
  }
}

// False when they must go on.
bool Agent::StopEvents(const std::string& directory) {
  BusyDirectory busy;
  for (const auto& [path, entry] : entries_) {
    if (DirectoryOf(entry.file) != directory && DirectoryOf(entry.real_file) != directory) {
      continue;
    }
    if (busy.members.size() == kMostNeighbours || entry.removing) {
      return false;
    }
    if (entry.attending || !(entry.task->engine() || entry.task->paused())) {
      return false;  // what it waits for may be a write
    }
    busy.members.push_back(path);
  }
  for (const std::string& path : busy.members) {
    entries_.at(path).task->LookUnasked(true);  // first, so that nothing is missed
  }
  busy.look_us = Now() + kLookMicros;
  busy.scan_us = Now() + kScanMicros;
  const auto& members = busy_directories_.insert_or_assign(directory, std::move(busy)).first;
  if (!watcher_.TellWrites(directory, false)) {
    ResumeEvents(members);
  }
  return true;
}

Agent::BusyDirectories::iterator Agent::ResumeEvents(BusyDirectories::iterator at) {
  const bool told = watcher_.TellWrites(at->first, true);
  for (const std::string& path : at->second.members) {
    const auto entry = entries_.find(path);
    if (entry == entries_.end()) {
      continue;
    }
    entry->second.task->LookUnasked(false);
    // Once more, with events on. A directory that is another one now is watched when its databases
    // are attended to.
    if (!entry->second.removing && entry->second.task->OnEvent(!told)) {
      SetDue(entry->second, 0);
      entry->second.again = entry->second.attending;
    }
  }
  return busy_directories_.erase(at);
}

// What is attended to may begin, or end, and must hear of everything.
void Agent::ResumeEventsOf(const Entry& entry) {
  for (const std::string& file : {entry.file, entry.real_file}) {
    const auto at = busy_directories_.find(DirectoryOf(file));
    if (at != busy_directories_.end()) {
      ResumeEvents(at);
    }
  }
}

int64_t Agent::BusyDue() {
  std::lock_guard lock(mutex_);
  const int64_t now = Now();
  int64_t due = now + kFarMicros;
  for (auto at = busy_directories_.begin(); at != busy_directories_.end();) {
    BusyDirectory& busy = at->second;
    if (busy.look_us <= now) {
      busy.look_us = now + kLookMicros;
      const bool still = std::any_of(busy.members.begin(), busy.members.end(), [&](const auto& of) {
        const auto entry = entries_.find(of);
        return entry != entries_.end() && entry->second.task->FramesPerSecond() >= busy_rate_;
      });
      if (!still || !watcher_.Watches(at->first)) {
        at = ResumeEvents(at);
        continue;
      }
    }
    if (busy.scan_us <= now) {
      busy.scan_us = now + kScanMicros;
      TellDirectories(at->first, {}, FileEvent::kChanged);  // a file may have become a database
    }
    due = std::min({due, busy.look_us, busy.scan_us});
    ++at;
  }
  return due;
}

size_t Agent::CountBusyDirectories() const {
  std::lock_guard lock(mutex_);
  return busy_directories_.size();
}

}  // namespace sqlite_s3
