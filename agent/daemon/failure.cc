#include "agent/daemon/failure.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/exit_codes.h"

namespace sqlite_s3 {

int Fail(const Status& status, bool json) {
  const int code = ExitCodeFor(status.code());
  if (!json) {
    std::fputs(("sqlite-s3-agent: " + status.message() + "\n").c_str(), stderr);
    return code;
  }
  const nlohmann::ordered_json error = {{"error",
                                         {{"code", StatusCodeName(status.code())},
                                          {"exit_code", code},
                                          {"message", status.message()}}}};
  std::puts(error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  return code;
}

}  // namespace sqlite_s3
