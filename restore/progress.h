#pragma once
// Progress: one line on a terminal, redrawn at most ten times a second; silent in a pipe.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace sqlite_s3 {

// Add may be called from any thread.
class Progress {
 public:
  // `enabled`: standard error is a terminal and nobody asked for silence.
  explicit Progress(bool enabled);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Starts a phase: "image", of `total` bytes.
  void Begin(const std::string& phase, uint64_t total);
  void Add(uint64_t bytes);
  void Done();  // clears the line

 private:
  void Draw();
  const bool enabled_;
  std::mutex mutex_;
  std::string phase_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace sqlite_s3
