#include "agent/daemon/position_alarm.h"

#include <algorithm>
#include <utility>

namespace sqlite_s3 {

bool PositionAlarm::Update(const Inputs& inputs, int64_t now_us) {
  const Inputs before = std::exchange(last_, inputs);
  // A position never goes back while there is an engine; without one it is not known.
  last_.shipped_txid = std::max(before.shipped_txid, inputs.shipped_txid);
  const bool moved = inputs.shipped_txid > before.shipped_txid ||
                     (inputs.engine == before.engine && inputs.progress > before.progress);
  if (!inputs.behind) {
    last_.shipped_txid = inputs.shipped_txid;  // a new timeline may begin earlier
  }
  if (!std::exchange(behind_, inputs.behind) || moved) {
    still_since_us_ = now_us;
  }
  return inputs.behind && now_us - still_since_us_ >= after_us_;
}

}  // namespace sqlite_s3
