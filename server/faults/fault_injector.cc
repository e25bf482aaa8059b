#include "server/faults/fault_injector.h"

#include <nlohmann/json.hpp>

#include "server/s3/answers.h"

namespace sqlite_s3::server {
namespace {

constexpr size_t kMaxRuleBytes = 1 << 20;

// One bit of the middle byte is another.
class WrongStream : public BodyStream {
 public:
  WrongStream(std::unique_ptr<BodyStream> inner, uint64_t wrong_at)
      : inner_(std::move(inner)), wrong_at_(wrong_at) {}
  Result<size_t> Read(std::span<uint8_t> out) override {
    Result<size_t> n = inner_->Read(out);
    if (n.ok()) {
      if (wrong_at_ >= position_ && wrong_at_ < position_ + *n) {
        out[static_cast<size_t>(wrong_at_ - position_)] ^= 1;
      }
      position_ += *n;
    }
    return n;
  }

 private:
  std::unique_ptr<BodyStream> inner_;
  uint64_t wrong_at_;
  uint64_t position_ = 0;
};

Response Reset() {
  Response response;
  response.ending = Ending::kReset;
  return response;
}

class FaultyExchange : public Exchange {
 public:
  FaultyExchange(std::shared_ptr<Call> call, Effects effects, FaultRules& rules,
                 std::unique_ptr<Exchange> inner)
      : call_(std::move(call)),
        effects_(std::move(effects)),
        rules_(rules),
        inner_(std::move(inner)) {}

  std::optional<Response> Early() override {
    if (effects_.refuse) {
      return Reset();
    }
    if (!inner_) {
      return std::nullopt;  // the request is read to its end first
    }
    std::optional<Response> early = inner_->Early();
    if (early) {
      return Distort(std::move(*early));
    }
    return early;
  }

  void OnBody(ByteSpan bytes) override {
    if (effects_.bytes_per_second > 0) {
      rules_.Wait(std::chrono::milliseconds(bytes.size() * 1000 / effects_.bytes_per_second),
                  effects_.generation);
    }
    if (inner_) {
      inner_->OnBody(bytes);
    }
  }

  Response Finish() override {
    if (effects_.reset_after_body) {
      return Reset();
    }
    if (!inner_) {
      return ErrorResponse();
    }
    return Distort(inner_->Finish());
  }

 private:
  Response ErrorResponse() const {
    S3Error error = MakeError(effects_.error->code, "A fault rule wants it so.");
    error.status = effects_.error->status;
    return ErrorAnswer(error, call_->request.path, call_->request_id);
  }

  Response Distort(Response response) {
    if (effects_.answer_lost) {
      return Reset();
    }
    if (effects_.error) {
      response = ErrorResponse();
    }
    if (effects_.wrong_body && response.size() > 0) {
      const uint64_t middle = response.size() / 2;
      if (response.stream) {
        response.stream = std::make_unique<WrongStream>(std::move(response.stream), middle);
      } else {
        response.body[static_cast<size_t>(middle)] ^= 1;
      }
    }
    if (effects_.cut) {
      response.cut_after = effects_.cut->bytes.value_or(response.size() / 2);
      response.ending =
          effects_.cut->kind == FaultKind::kTruncate ? Ending::kClose : Ending::kReset;
    }
    response.bytes_per_second = effects_.bytes_per_second;
    return response;
  }

  std::shared_ptr<Call> call_;
  const Effects effects_;
  FaultRules& rules_;
  std::unique_ptr<Exchange> inner_;  // null: nothing happens
};

}  // namespace

std::unique_ptr<Exchange> FaultInjector::Intercept(
    std::shared_ptr<Call> call,
    const std::function<std::unique_ptr<Exchange>(std::shared_ptr<Call>)>& proceed) {
  Effects effects = rules_.Match(*call);
  if (effects.delay.count() > 0) {
    rules_.Wait(effects.delay, effects.generation);
  }
  call->ignore_conditions = effects.ignore_conditions;
  call->list_fault = effects.list;
  const bool happens =
      !effects.refuse && !effects.reset_after_body && (!effects.error || effects.error->execute);
  std::unique_ptr<Exchange> inner = happens ? proceed(call) : nullptr;
  return std::make_unique<FaultyExchange>(std::move(call), std::move(effects), rules_,
                                          std::move(inner));
}

std::unique_ptr<Exchange> FaultAdmin::Begin(Request request) {
  const auto answer = [](int status, std::string body) {
    Response response;
    response.status = status;
    response.headers.Add("Content-Type", "application/json");
    response.body = std::move(body) + "\n";
    return response;
  };
  const auto refuse = [answer](int status, const std::string& message) {
    return answer(status, nlohmann::json{{"error", message}}.dump());
  };
  if (request.path != "/rules") {
    return AnswerNow(refuse(404, "hint: /rules"));
  }
  if (request.method == "GET") {
    return AnswerNow(answer(200, rules_.ToJson()));
  }
  if (request.method == "DELETE") {
    rules_.Clear();
    return AnswerNow(answer(200, "{}"));
  }
  if (request.method != "POST") {
    return AnswerNow(refuse(405, "hint: GET, POST or DELETE"));
  }
  return CollectBody(
      kMaxRuleBytes, [refuse] { return refuse(413, "the rules are too long"); },
      [this, answer, refuse](const std::string& body) {
        Result<std::string> added = rules_.Add(body);
        return added.ok() ? answer(200, *added) : refuse(400, added.status().message());
      });
}

}  // namespace sqlite_s3::server
