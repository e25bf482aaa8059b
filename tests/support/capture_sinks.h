#pragma once
// What tests give a WalCapture in place of an engine.

#include <cstdint>
#include <utility>
#include <vector>

#include "agent/ship/wal_capture.h"

namespace sqlite_s3 {

// Hands nothing over and keeps nothing.
class ForgetfulSink : public CaptureSink {
 public:
  void OnCapturedCommit(CapturedCommit) override {}
  int64_t CommitTime(uint32_t, bool* upper_bound) override {
    *upper_bound = true;
    return 0;
  }
  bool WantsBases() override { return false; }
  bool WantsPrevious(PageNumber) override { return false; }
  void SetAside(PageNumber, PagePtr) override {}
  bool MustHoldPin() override { return false; }
  void OnShrink(uint32_t, uint32_t) override {}
  bool HasRoom() override { return true; }
};

// Keeps what is handed over, with bases.
class KeepingSink : public ForgetfulSink {
 public:
  void OnCapturedCommit(CapturedCommit commit) override { commits.push_back(std::move(commit)); }
  bool WantsBases() override { return true; }
  std::vector<CapturedCommit> commits;
};

}  // namespace sqlite_s3
