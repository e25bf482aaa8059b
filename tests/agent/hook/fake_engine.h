#pragma once
// FakeEngine: an engine that ships nothing and remembers what the hook layer told it. A "commit" is
// a call of OnCommit, and its TXID the number of calls.

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/hook/start_engine.h"
#include "agent/ship/engine.h"

namespace sqlite_s3 {

class FakeEngine : public Engine {
 public:
  explicit FakeEngine(const EngineConfig& engine_config)
      : config(engine_config), checkpoint_pages(engine_config.checkpoint_pages) {}

  void OnCommit(uint32_t frames) override { commits.push_back(frames); }
  void AttachConnection() override { ++connections; }
  bool DetachConnection() override {
    if (--connections == 0) {
      stopped = true;
    }
    return stopped;
  }
  void SetHookDisplaced(bool displaced) override { hook_displaced = displaced; }
  void SetCheckpointPages(uint32_t pages) override { checkpoint_pages = pages; }
  uint64_t UnannouncedCommits() const override { return unannounced; }
  Status Sync(std::chrono::milliseconds timeout, Txid* txid) override {
    last_timeout = timeout;
    *txid = Txid{commits.size()};
    return sync_status;
  }
  Status Wait(Txid txid, std::chrono::milliseconds timeout) override {
    last_timeout = timeout;
    return txid.value <= commits.size() ? sync_status : InvalidArgumentError("no such commit yet");
  }
  Result<Txid> Mark(const std::string& name, std::chrono::milliseconds timeout) override {
    last_timeout = timeout;
    marks.push_back(name);
    return Txid{commits.size()};
  }
  Result<Txid> MakeImage(std::chrono::milliseconds timeout) override {
    last_timeout = timeout;
    return Txid{commits.size()};
  }
  EngineStatus GetStatus(bool force_capture) override {
    captures_forced += force_capture;
    EngineStatus status;
    status.state = stopped ? EngineState::kStopped : state;
    status.database = config.database_path;
    status.txid = status.shipped_txid = Txid{commits.size()};
    status.hook_displaced = hook_displaced;
    return status;
  }
  Status Stop(std::chrono::milliseconds timeout) override {
    last_timeout = timeout;
    stopped = true;
    return Status::Ok();
  }
  void PrepareFork() override { fork_events += "prepare "; }
  void ParentAfterFork() override { fork_events += "parent "; }
  void ChildAfterFork() override {
    fork_events += "child ";
    stopped = true;
  }

  const EngineConfig config;
  std::vector<uint32_t> commits;
  std::vector<std::string> marks;
  int connections = 0;
  bool stopped = false;
  bool hook_displaced = false;
  uint32_t checkpoint_pages;
  uint64_t unannounced = 0;
  int captures_forced = 0;
  std::chrono::milliseconds last_timeout{-1};
  Status sync_status;
  EngineState state = EngineState::kShipping;
  std::string fork_events;
};

// While it lives, StartEngine makes fake engines and keeps them here, in order.
class FakeEngines {
 public:
  FakeEngines() {
    SetEngineFactoryForTesting([this](const EngineConfig& config) { return Start(config); });
  }
  ~FakeEngines() { SetEngineFactoryForTesting(nullptr); }

  size_t count() const { return engines_.size(); }
  FakeEngine& last() const { return *engines_.back(); }
  FakeEngine& operator[](size_t i) const { return *engines_[i]; }
  void FailNextStart(Status status) { next_start_ = std::move(status); }

 private:
  Result<std::shared_ptr<Engine>> Start(const EngineConfig& config) {
    if (!next_start_.ok()) {
      return std::exchange(next_start_, Status::Ok());
    }
    engines_.push_back(std::make_shared<FakeEngine>(config));
    return std::shared_ptr<Engine>(engines_.back());
  }
  std::vector<std::shared_ptr<FakeEngine>> engines_;
  Status next_start_;
};

}  // namespace sqlite_s3
