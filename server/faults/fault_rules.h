#pragma once
// FaultRules: what shall go wrong, for tests of clients. The JSON that describes a rule is in
// docs/S3-SERVER.md. Thread-safe.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include "common/base/status.h"
#include "server/s3/call.h"

namespace sqlite_s3::server {

enum class FaultKind : uint8_t {
  kRefuse,               // reset as soon as the head is read; nothing happens
  kResetAfterBody,       // reset when the request is read; nothing happens
  kAnswerLost,           // it happens; reset instead of the answer
  kResetInAnswer,        // it happens; head and `bytes` of the answer, then a reset
  kTruncate,             // it happens; head and `bytes` of the answer, then closed in order
  kWrongBody,            // it happens; one bit of the answer's body is another
  kError,                // `status` and `code`; with `execute` it happens all the same
  kDelay,                // `delay_ms` before anything happens, or until the rules are cleared
  kThrottle,             // `bytes_per_second` both ways
  kListStale,            // the newest `keys` of each page are not seen
  kListShort,            // pages of at most `keys`, truncated in order
  kListUnordered,        // keys of a page in reverse
  kListLoop,             // a page's token leads back to that page
  kNoConditionalWrites,  // If-Match and If-None-Match of writes are not looked at
};
const char* FaultKindName(FaultKind kind);

struct FaultRule {
  int64_t id = 0;
  std::string op = "*";  // globs
  std::string bucket = "*";
  std::string key = "*";
  bool conditional_only = false;  // only requests with If-Match or If-None-Match
  FaultKind kind = FaultKind::kError;
  int64_t skip = 0;              // matches that pass first
  std::optional<int64_t> count;  // matches that are hit then; absent: all
  int64_t seen = 0;              // matches so far
  int64_t hits = 0;
  int status = 500;
  std::string code = "InternalError";
  bool execute = false;
  std::optional<uint64_t> bytes;
  uint64_t bytes_per_second = 0;
  int64_t delay_ms = 0;
  int64_t keys = 1;
};

// What all rules together do to one request.
struct Effects {
  bool refuse = false;
  bool reset_after_body = false;
  bool answer_lost = false;
  bool wrong_body = false;
  std::optional<FaultRule> error;
  std::optional<FaultRule> cut;
  std::chrono::milliseconds delay{0};
  uint64_t generation = 0;  // for Wait
  uint64_t bytes_per_second = 0;
  bool ignore_conditions = false;
  ListFault list;
};

class FaultRules {
 public:
  // One rule, or an array of them; all or none. Answers the ids of the new ones as JSON.
  // kInvalidArgument names the key.
  Result<std::string> Add(const std::string& json);
  std::string ToJson() const;
  // Requests that are being delayed go on at once.
  void Clear();
  // Counts this request in every rule that it matches.
  Effects Match(const Call& call);
  // Blocks for `delay`, or until the rules of that generation have been cleared.
  void Wait(std::chrono::milliseconds delay, uint64_t generation);

 private:
  mutable std::mutex mutex_;
  std::condition_variable cleared_;
  uint64_t generation_ = 0;
  int64_t next_id_ = 1;
  std::deque<FaultRule> rules_;
};

}  // namespace sqlite_s3::server
