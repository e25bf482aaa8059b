#include "server/faults/fault_rules.h"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "server/auth/users.h"

namespace sqlite_s3::server {
namespace {

using nlohmann::json;

constexpr size_t kMaxRules = 10'000;

constexpr const char* kNames[] = {
    "refuse",    "reset-after-body",     "answer-lost", "reset-in-answer",
    "truncate",  "wrong-body",           "error",       "delay",
    "throttle",  "list-stale",           "list-short",  "list-unordered",
    "list-loop", "no-conditional-writes"};

Status Wrong(const std::string& key, const char* type) {
  return InvalidArgumentError(fmt::format("'{}' must be {}", key, type));
}

Status ReadString(const json& value, const std::string& key, std::string& out) {
  if (!value.is_string()) {
    return Wrong(key, "a string");
  }
  out = value.get<std::string>();
  return Status::Ok();
}

Status ReadNumber(const json& value, const std::string& key, int64_t min, int64_t max,
                  int64_t& out) {
  if (!value.is_number_integer() || value.get<int64_t>() < min || value.get<int64_t>() > max) {
    return Wrong(key, fmt::format("a whole number of {} to {}", min, max).c_str());
  }
  out = value.get<int64_t>();
  return Status::Ok();
}

Status ReadFlag(const json& value, const std::string& key, bool& out) {
  if (!value.is_boolean()) {
    return Wrong(key, "true or false");
  }
  out = value.get<bool>();
  return Status::Ok();
}

Status ReadKind(const json& value, FaultKind& out) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (value == kNames[i]) {
      out = static_cast<FaultKind>(i);
      return Status::Ok();
    }
  }
  return InvalidArgumentError(fmt::format("'fault' {} is unknown", value.dump()));
}

Status ReadKey(const std::string& key, const json& value, FaultRule& rule) {
  constexpr int64_t kMany = int64_t{1} << 50;
  int64_t number = 0;
  if (key == "op") {
    return ReadString(value, key, rule.op);
  }
  if (key == "bucket") {
    return ReadString(value, key, rule.bucket);
  }
  if (key == "key") {
    return ReadString(value, key, rule.key);
  }
  if (key == "conditional") {
    return ReadFlag(value, key, rule.conditional_only);
  }
  if (key == "fault") {
    return ReadKind(value, rule.kind);
  }
  if (key == "skip") {
    return ReadNumber(value, key, 0, kMany, rule.skip);
  }
  if (key == "code") {
    return ReadString(value, key, rule.code);
  }
  if (key == "execute") {
    return ReadFlag(value, key, rule.execute);
  }
  if (key == "delay_ms") {
    return ReadNumber(value, key, 0, 3'600'000, rule.delay_ms);
  }
  if (key == "keys") {
    return ReadNumber(value, key, 1, 1000, rule.keys);
  }
  if (key == "count") {
    RETURN_IF_ERROR(ReadNumber(value, key, 1, kMany, number));
    rule.count = number;
    return Status::Ok();
  }
  if (key == "status") {
    RETURN_IF_ERROR(ReadNumber(value, key, 200, 599, number));
    rule.status = static_cast<int>(number);
    return Status::Ok();
  }
  if (key == "bytes") {
    RETURN_IF_ERROR(ReadNumber(value, key, 0, kMany, number));
    rule.bytes = static_cast<uint64_t>(number);
    return Status::Ok();
  }
  if (key == "bytes_per_second") {
    RETURN_IF_ERROR(ReadNumber(value, key, 1, kMany, number));
    rule.bytes_per_second = static_cast<uint64_t>(number);
    return Status::Ok();
  }
  return InvalidArgumentError(fmt::format("unknown key '{}'", key));
}

Result<FaultRule> ReadRule(const json& object) {
  if (!object.is_object() || !object.contains("fault")) {
    return InvalidArgumentError("a rule is an object with a key 'fault'");
  }
  FaultRule rule;
  for (const auto& [key, value] : object.items()) {
    RETURN_IF_ERROR(ReadKey(key, value, rule));
  }
  if ((rule.kind == FaultKind::kThrottle) != (rule.bytes_per_second != 0)) {
    return InvalidArgumentError("'bytes_per_second' goes with the fault 'throttle'");
  }
  if ((rule.kind == FaultKind::kDelay) != (rule.delay_ms != 0)) {
    return InvalidArgumentError("'delay_ms' goes with the fault 'delay'");
  }
  // A rule for an operation that does not exist would never be hit, and its test prove nothing.
  for (size_t i = 0; i < kOpCount; ++i) {
    if (MatchesGlob(rule.op, OpName(static_cast<Op>(i)))) {
      return rule;
    }
  }
  return InvalidArgumentError(fmt::format("no operation is called '{}'", rule.op));
}

bool Matches(const FaultRule& rule, const Call& call) {
  const bool conditional =
      call.request.headers.Has("if-match") || call.request.headers.Has("if-none-match");
  return MatchesGlob(rule.op, OpName(call.op)) && MatchesGlob(rule.bucket, call.bucket) &&
         MatchesGlob(rule.key, call.key.empty() ? call.query.Get("prefix") : call.key) &&
         (!rule.conditional_only || conditional);
}

void Apply(const FaultRule& rule, Effects& effects) {
  switch (rule.kind) {
    case FaultKind::kRefuse:
      effects.refuse = true;
      return;
    case FaultKind::kResetAfterBody:
      effects.reset_after_body = true;
      return;
    case FaultKind::kAnswerLost:
      effects.answer_lost = true;
      return;
    case FaultKind::kResetInAnswer:
    case FaultKind::kTruncate:
      effects.cut = rule;
      return;
    case FaultKind::kWrongBody:
      effects.wrong_body = true;
      return;
    case FaultKind::kError:
      effects.error = rule;
      return;
    case FaultKind::kDelay:
      effects.delay += std::chrono::milliseconds(rule.delay_ms);
      return;
    case FaultKind::kThrottle:
      effects.bytes_per_second = rule.bytes_per_second;
      return;
    case FaultKind::kListStale:
      effects.list.leave_out = static_cast<size_t>(rule.keys);
      return;
    case FaultKind::kListShort:
      effects.list.max_keys = static_cast<int>(rule.keys);
      return;
    case FaultKind::kListUnordered:
      effects.list.reversed = true;
      return;
    case FaultKind::kListLoop:
      effects.list.loops = true;
      return;
    case FaultKind::kNoConditionalWrites:
      effects.ignore_conditions = true;
      return;
  }
}

}  // namespace

const char* FaultKindName(FaultKind kind) { return kNames[static_cast<size_t>(kind)]; }

Result<std::string> FaultRules::Add(const std::string& text) {
  const json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) {
    return InvalidArgumentError("the rules are not JSON");
  }
  const json list = parsed.is_array() ? parsed : json::array({parsed});
  std::vector<FaultRule> added;
  for (const json& object : list) {
    ASSIGN_OR_RETURN(FaultRule rule, ReadRule(object));
    added.push_back(std::move(rule));
  }
  std::lock_guard lock(mutex_);
  if (rules_.size() + added.size() > kMaxRules) {
    return InvalidArgumentError("there are too many rules");
  }
  json ids = json::array();
  for (FaultRule& rule : added) {
    rule.id = next_id_++;
    ids.push_back(rule.id);
    rules_.push_back(std::move(rule));
  }
  return json{{"ids", ids}}.dump();
}

std::string FaultRules::ToJson() const {
  std::lock_guard lock(mutex_);
  json list = json::array();
  for (const FaultRule& rule : rules_) {
    json object = {{"id", rule.id},     {"op", rule.op},     {"bucket", rule.bucket},
                   {"key", rule.key},   {"skip", rule.skip}, {"fault", FaultKindName(rule.kind)},
                   {"seen", rule.seen}, {"hits", rule.hits}};
    if (rule.count) {
      object["count"] = *rule.count;
    }
    list.push_back(std::move(object));
  }
  return list.dump();
}

void FaultRules::Clear() {
  {
    std::lock_guard lock(mutex_);
    rules_.clear();
    ++generation_;
  }
  cleared_.notify_all();
}

Effects FaultRules::Match(const Call& call) {
  Effects effects;
  std::lock_guard lock(mutex_);
  effects.generation = generation_;
  for (FaultRule& rule : rules_) {
    if (!Matches(rule, call)) {
      continue;
    }
    ++rule.seen;
    if (rule.seen > rule.skip && (!rule.count || rule.hits < *rule.count)) {
      ++rule.hits;
      Apply(rule, effects);
    }
  }
  return effects;
}

void FaultRules::Wait(std::chrono::milliseconds delay, uint64_t generation) {
  std::unique_lock lock(mutex_);
  cleared_.wait_for(lock, delay, [&] { return generation_ != generation; });
}

}  // namespace sqlite_s3::server
