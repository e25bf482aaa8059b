// Any text as each of the documents: as it is, and with the digest put right. What parses is
// formatted and must then parse as the same.
#include <cstdlib>
#include <string>

#include "common/format/documents.h"

namespace sqlite_s3 {
namespace {

template <typename T>
void Try(const std::string& text, Result<T> (*parse)(std::string_view, std::string_view),
         std::string (*format)(const T&)) {
  auto document = parse(text, "fuzz");
  if (document.ok()) {
    auto again = parse(format(*document), "fuzz");
    if (!again.ok() || !(*again == *document)) {
      std::abort();
    }
  }
}

void TryAll(const std::string& text) {
  Try(text, &ParseReplicaDocument, &FormatReplicaDocument);
  Try(text, &ParseTimelineDocument, &FormatTimelineDocument);
  Try(text, &ParseMarkDocument, &FormatMarkDocument);
  Try(text, &ParseImageManifest, &FormatImageManifest);
}

}  // namespace
}  // namespace sqlite_s3

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  std::string text(AsText({data, size}));
  TryAll(text);
  size_t at = text.rfind(",\n  \"digest\": \"");
  if (at != std::string::npos) {
    text.resize(at);
    TryAll(text + ",\n  \"digest\": \"" + FormatDigest(ComputeDigest(AsBytes(text))) + "\"\n}\n");
  }
  return 0;
}
