#include "restore/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace sqlite_s3 {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);

}  // namespace

Progress::Progress(bool enabled) : enabled_(enabled) {}
Progress::~Progress() { Done(); }

void Progress::Begin(const std::string& phase, uint64_t total) {
  std::lock_guard lock(mutex_);
  phase_ = phase;
  total_ = total;
  done_ = 0;
  start_ = std::chrono::steady_clock::now();
  last_ = {};
}

void Progress::Add(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  done_ += bytes;
  if (enabled_ && std::chrono::steady_clock::now() - last_ >= kRedraw) {
    Draw();
  }
}

void Progress::Draw() {
  last_ = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(last_ - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  const uint64_t total = std::max(total_, done_);
  const double left = rate > 0 ? static_cast<double>(total - done_) / rate : 0;
  std::string line = fmt::format(
      "\r{:8} {:8.1f} of {:.1f} MB {:3.0f} % {:7.1f} MB/s {:5.0f} s left ", phase_,
      static_cast<double>(done_) / 1e6, static_cast<double>(total) / 1e6,
      total > 0 ? 100.0 * static_cast<double>(done_) / static_cast<double>(total) : 100.0,
      rate / 1e6, left);
  std::fwrite(line.data(), 1, line.size(), stderr);
  drawn_ = true;
}

void Progress::Done() {
  std::lock_guard lock(mutex_);
  if (drawn_) {
    std::fputs("\r\033[K", stderr);
    drawn_ = false;
  }
}

}  // namespace sqlite_s3
