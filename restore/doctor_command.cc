// sqlite-s3-restore doctor REPLICA: what works between here and the replica's store, what does not,
// and what to do about it. Writes one small object of its own and deletes it.

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/config/environment.h"
#include "common/config/options.h"
#include "common/replica/store_address.h"
#include "common/store/s3_multipart.h"
#include "common/store/s3_store.h"
#include "restore/command.h"
#include "restore/exit_codes.h"

namespace sqlite_s3 {
namespace {

// Always the same, so that a store which forbids deletion keeps one of them at most.
constexpr std::string_view kProbeKey = ".doctor";
constexpr std::string_view kProbeBody = "written and deleted by sqlite-s3-restore doctor\n";
constexpr int64_t kDayUs = int64_t{24} * 3600 * 1'000'000;
constexpr int64_t kSkewToMentionUs = int64_t{60} * 1'000'000;
constexpr size_t kMaxUploads = 10'000;

struct Check {
  std::string name;
  std::string needed_for;
  bool required = true;
  Status status;
  std::string detail;
};

class Doctor {
 public:
  explicit Doctor(const DoctorCommand& command) : command_(command) {}

  int Run() {
    const auto environment = EnvironmentDefaults();
    auto config = environment.ok() ? ParseReplicaConfig(command_.common.replica, {}, *environment)
                                   : Result<ReplicaConfig>(environment.status());
    if (!config.ok()) {
      return Fail(config.status(), command_.common);
    }
    const bool s3 = config->location.scheme == "s3" && config->location.client != "libs3";
    if (command_.abort_uploads && !s3) {
      return Fail(InvalidArgumentError("option '--abort-uploads' is for s3:// replicas"),
                  command_.common);
    }
    const StoreUse use = command_.read_only ? StoreUse::kRead : StoreUse::kShip;
    StoreAddress address = AddressOf(config->location, use);
    address.create = false;  // looking must not make a directory
    auto store = OpenStore(address);
    if (!Note("options", "everything", true, store.status())) {
      return Report();
    }
    store_ = *store;
    if (s3) {
      auto client = OpenS3Client({.address = address.s3});
      if (!client.ok()) {
        return Fail(client.status(), command_.common);
      }
      client_ = *client;
      if (!CheckCredentials() || !CheckEndpoint()) {
        return Report();
      }
    }
    CheckReading();
    if (!command_.read_only) {
      CheckWriting();
    }
    if (command_.abort_uploads) {
      AbortUploads();
    }
    return Report();
  }

 private:
  bool Note(std::string name, std::string needed_for, bool required, Status status,
            std::string detail = {}) {
    const bool ok = status.ok();
    checks_.push_back(
        {std::move(name), std::move(needed_for), required, std::move(status), std::move(detail)});
    return ok;
  }

  bool CheckCredentials() {
    auto credentials = client_->credentials().Get();
    std::string detail;
    if (credentials.ok()) {
      detail = "from " + credentials->source;
      if (credentials->expires_us) {
        detail += ", until " + FormatTimeUtc(*credentials->expires_us);
      }
    }
    return Note("credentials", "everything", true, credentials.status(), detail);
  }

  // Any answer of the store will do: what it says is the next check's business.
  bool CheckEndpoint() {
    S3Request request;
    request.method = "GET";
    request.query = "list-type=2&max-keys=1";
    const int64_t before_us = Clock::Real().WallMicros();
    auto answer = client_->Send(request);
    if (!Note("endpoint", "everything", true, answer.status(),
              client_->endpoint().base + ", region " + client_->region())) {
      return false;
    }
    if (answer->server_us) {
      const int64_t skew_us = *answer->server_us - before_us;
      Status status;
      if (std::abs(skew_us) > kSkewToMentionUs) {
        status = FailedPreconditionError(
            fmt::format("the store's clock is {} s {} this machine's, hint: set this machine's "
                        "clock",
                        std::abs(skew_us) / 1'000'000, skew_us > 0 ? "ahead of" : "behind"));
      }
      Note("clock", "restore points at the right times", false, status,
           fmt::format("{:+.0f} s", static_cast<double>(skew_us) / 1e6));
    }
    return true;
  }

  void CheckReading() {
    auto listed = store_->List("", "", 1);
    Note("list", "shipping and restoring", true, listed.status());
    if (command_.read_only && listed.ok() && !listed->empty()) {
      auto got = store_->Get(listed->front().key, 1, ByteRange{0, 1});
      Note("get", "restoring", true, got.status());
    }
  }

  void CheckWriting() {
    auto put = store_->Put(kProbeKey, AsBytes(kProbeBody));
    if (!Note("put", "shipping", true, put.status())) {
      return;
    }
    Note("get", "restoring, and shipping after a restart", true, ReadProbe());
    CheckConditionalPut();
    if (client_) {
      const std::string& prefix = client_->address().prefix;
      const std::string key = (prefix.empty() ? "" : prefix + "/") + std::string(kProbeKey);
      auto uploaded = UploadInParts(*client_, key, AsBytes(kProbeBody), {}, {});
      Status status = uploaded.status();
      // Read back: there are stores whose checksum of an object in parts is not what its name says.
      // Not with a key of the customer's, which this upload does without.
      if (status.ok() && client_->address().sse_c_key_file.empty()) {
        status = ReadProbe();
      }
      Note("multipart", "objects larger than part_size", true, status);
    }
    // A writer without the right to delete is good practice: expiry may have a role of its own.
    Note("delete", "retention", false, store_->Delete(kProbeKey));
  }

  Status ReadProbe() {
    auto got = store_->Get(kProbeKey, kProbeBody.size());
    return got.ok() && AsText(*got) != kProbeBody
               ? CorruptionError("the store gives back other bytes than it was given")
               : got.status();
  }

  void CheckConditionalPut() {
    Status status;
    auto again = store_->PutIfAbsent(kProbeKey, AsBytes(kProbeBody));
    if (!store_->SupportsConditionalPut() || again.ok()) {
      status = UnimplementedError(
          "the store has no create-if-absent, so two writers could not be kept apart, hint: "
          "require_fencing=off accepts that");
    } else if (again.code() != StatusCode::kAlreadyExists) {
      status = again.status();
    }
    Note("conditional put", "keeping two writers apart", true, status);
  }

  void AbortUploads() {
    const int64_t before_us = Clock::Real().WallMicros() + client_->clock_offset_us() - kDayUs;
    std::string prefix = client_->address().prefix;
    if (!prefix.empty()) prefix += "/";
    auto uploads = ListUploads(*client_, prefix, before_us, kMaxUploads);
    Status status = uploads.status();
    size_t aborted = 0;
    for (size_t i = 0; uploads.ok() && i < uploads->size() && status.ok(); ++i) {
      status = AbortUpload(*client_, (*uploads)[i].key, (*uploads)[i].id);
      aborted += status.ok() ? 1u : 0u;
    }
    Note("abort uploads", "not paying for what a crash left", true, status,
         fmt::format("{} aborted", aborted));
  }

  int Report() const {
    int code = 0;
    nlohmann::ordered_json checks = nlohmann::ordered_json::array();
    for (const Check& check : checks_) {
      if (code == 0 && check.required) {
        code = ExitCodeFor(check.status.code());
      }
      nlohmann::ordered_json row = {{"check", check.name},
                                    {"ok", check.status.ok()},
                                    {"required", check.required},
                                    {"needed_for", check.needed_for}};
      if (!check.detail.empty()) row["detail"] = check.detail;
      if (!check.status.ok()) {
        row["code"] = StatusCodeName(check.status.code());
        row["message"] = check.status.message();
      }
      checks.push_back(std::move(row));
    }
    if (command_.common.json) {
      nlohmann::ordered_json json;
      if (store_) json["replica"] = store_->Describe();
      json["ok"] = code == 0;
      json["exit_code"] = code;
      json["checks"] = std::move(checks);
      PrintJson(json);
      return code;
    }
    for (const Check& check : checks_) {
      const char* verdict = check.status.ok() ? "ok" : check.required ? "FAILED" : "no";
      std::puts(fmt::format("{:<16} {:<7} {}", check.name, verdict, check.detail).c_str());
      if (!check.status.ok()) {
        std::puts(
            fmt::format("  needed for {}: {}", check.needed_for, check.status.message()).c_str());
      }
    }
    return code;
  }

  const DoctorCommand& command_;
  std::shared_ptr<ObjectStore> store_;
  std::shared_ptr<S3Client> client_;  // s3 over libcurl only
  std::vector<Check> checks_;
};

}  // namespace

int RunDoctor(const DoctorCommand& command) { return Doctor(command).Run(); }

}  // namespace sqlite_s3
