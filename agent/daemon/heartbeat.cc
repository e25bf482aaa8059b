#include "agent/daemon/heartbeat.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/clock.h"
#include "common/store/curl_transport.h"

namespace sqlite_s3 {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr microseconds kOverdueLook{1'000'000};
constexpr milliseconds kConnectTimeout{5'000};
constexpr milliseconds kTimeout{10'000};

// Empty for what is not a URL that we ask.
std::string HostOf(const std::string& url) {
  for (const std::string_view scheme : {"https://", "http://"}) {
    if (url.starts_with(scheme)) {
      const size_t begin = scheme.size();
      std::string authority = url.substr(begin, url.find_first_of("/?#", begin) - begin);
      return authority.substr(authority.rfind('@') + 1);  // npos + 1: all of it
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Heartbeat>> Heartbeat::Create(const std::string& url, milliseconds interval,
                                                     Logger& log) {
  std::string host = HostOf(url);
  if (host.empty()) {
    return InvalidArgumentError("option 'heartbeat_url': not a URL, hint: https://host/path");
  }
  ASSIGN_OR_RETURN(std::shared_ptr<HttpTransport> transport, NewCurlTransport({}));
  return std::unique_ptr<Heartbeat>(
      new Heartbeat(url, std::move(host), interval, std::move(transport), log));
}

Heartbeat::Heartbeat(std::string url, std::string host, milliseconds interval,
                     std::shared_ptr<HttpTransport> transport, Logger& log)
    : url_(std::move(url)),
      host_(std::move(host)),
      interval_(interval),
      transport_(std::move(transport)),
      log_(log) {}

microseconds Heartbeat::Beat(bool all_is_well, int64_t now_us) {
  if (now_us >= due_us_ && all_is_well && !sending_.exchange(true)) {
    due_us_ = now_us + interval_.count();
    pool_.Post([this] {
      Send();
      sending_ = false;
    });
  }
  // What is due waits for better times, or for its predecessor.
  return due_us_ > now_us ? microseconds(due_us_ - now_us) : std::min(interval_, kOverdueLook);
}

void Heartbeat::Send() {
  HttpRequest request;
  request.method = "GET";
  request.url = url_;
  request.connect_timeout = kConnectTimeout;
  request.timeout = kTimeout;
  const auto answer = transport_->Send(request);
  if (answer.ok()) {
    const bool good = answer->status >= 200 && answer->status < 300;
    Note(good ? "" : fmt::format("HTTP status {}", answer->status));
    return;
  }
  // The message begins with the URL, and what is in its path is a secret.
  std::string what = answer.status().message();
  const std::string prefix = "GET " + url_.substr(0, url_.find('?')) + ": ";
  Note(what.starts_with(prefix) ? what.substr(prefix.size())
                                : StatusCodeName(answer.status().code()));
}

void Heartbeat::Note(const std::string& trouble) {
  if (std::exchange(trouble_, trouble) == trouble) {
    return;
  }
  log_.Write(trouble.empty() ? LogLevel::kInfo : LogLevel::kWarning, "",
             fmt::format("heartbeat to {}: {}", host_, trouble.empty() ? "answered" : trouble));
}

}  // namespace sqlite_s3
