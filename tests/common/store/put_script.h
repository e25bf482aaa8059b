#pragma once
// The script that sqlite_s3_put_program runs, and what a store holds after each of its steps.

#include <iterator>
#include <map>
#include <string>
#include <string_view>

namespace sqlite_s3 {

struct PutStep {
  enum Kind { kPut, kPutIfAbsent, kPutIfMatch, kDelete, kDeleteMany } kind;
  std::string_view key;
  char letter;  // the body is 10,000 of it
};

inline constexpr PutStep kPutScript[] = {
    {PutStep::kPutIfAbsent, "replica.json", 'r'},
    {PutStep::kPutIfAbsent, "00000001/log/0001.seg", 'a'},
    {PutStep::kPutIfAbsent, "00000001/log/0002.seg", 'b'},
    {PutStep::kPut, "marks/m.json", 'c'},
    {PutStep::kPut, "marks/m.json", 'd'},
    {PutStep::kPutIfMatch, "marks/m.json", 'g'},
    {PutStep::kPutIfAbsent, "00000001/image/0002/part", 'e'},
    {PutStep::kDelete, "00000001/image/0002/part", 0},
    {PutStep::kPutIfAbsent, "00000001/log/0003.seg", 'f'},
    {PutStep::kPutIfAbsent, "00000001/image/0003/part", 'h'},
    {PutStep::kDeleteMany, "00000001/image/0003/part", 0},
};
inline constexpr int kPutSteps = static_cast<int>(std::size(kPutScript));

inline std::string BodyOf(const PutStep& step) { return std::string(10'000, step.letter); }

// Key to body after the first `steps` steps on an empty store.
inline std::map<std::string, std::string> StateAfter(int steps) {
  std::map<std::string, std::string> state;
  for (int i = 0; i < steps && i < kPutSteps; ++i) {
    const PutStep& step = kPutScript[i];
    if (step.kind == PutStep::kDelete || step.kind == PutStep::kDeleteMany) {
      state.erase(std::string(step.key));
    } else {
      state[std::string(step.key)] = BodyOf(step);
    }
  }
  return state;
}

}  // namespace sqlite_s3
