// Runs the put script on a directory store: put_program ROOT. Prints "conditional" or
// "unconditional", then one line per step done. Exits with 0, or 10 + the code of the status that
// stopped it.

#include <cstdio>

#include "common/store/open_store.h"
#include "tests/common/store/put_script.h"

namespace sqlite_s3 {
namespace {

Status RunStep(ObjectStore& store, const PutStep& step) {
  const std::string body = BodyOf(step);
  switch (step.kind) {
    case PutStep::kPut:
      return store.Put(step.key, AsBytes(body)).status();
    case PutStep::kDelete:
      return store.Delete(step.key);
    case PutStep::kDeleteMany: {
      ASSIGN_OR_RETURN(auto failures, store.DeleteMany(std::vector{std::string(step.key)}));
      return failures.empty() ? Status::Ok() : failures.front().status;
    }
    case PutStep::kPutIfMatch: {
      ASSIGN_OR_RETURN(const ObjectInfo there, store.Head(step.key));
      return store.PutIfMatch(step.key, AsBytes(body), there.etag).status();
    }
    case PutStep::kPutIfAbsent:
      break;
  }
  Result<PutResult> put = store.PutIfAbsent(step.key, AsBytes(body));
  if (put.code() != StatusCode::kAlreadyExists) {
    return put.status();
  }
  // As the agent does: perhaps it is ours, from a run that was killed.
  ASSIGN_OR_RETURN(Bytes there, store.Get(step.key, 1 << 20));
  return AsText(there) == body ? Status() : CorruptionError("another object is there");
}

Status Run(const char* root) {
  ASSIGN_OR_RETURN(std::shared_ptr<ObjectStore> store,
                   OpenStore({.scheme = "file", .path = root, .create = true}));
  std::puts(store->SupportsConditionalPut() ? "conditional" : "unconditional");
  for (const PutStep& step : kPutScript) {
    RETURN_IF_ERROR(RunStep(*store, step));
    std::puts("done");
    std::fflush(stdout);
  }
  return {};
}

}  // namespace
}  // namespace sqlite_s3

int main(int argc, char** argv) {
  if (argc != 2) {
    return 2;
  }
  sqlite_s3::Status status = sqlite_s3::Run(argv[1]);
  return status.ok() ? 0 : 10 + static_cast<int>(status.code());
}
