// Any bytes as what an S3 server answers: lists, uploads, errors, dates.
#include "common/store/http_date.h"
#include "common/store/s3_error.h"
#include "common/store/s3_xml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sqlite_s3;
  const ByteSpan body(data, size);
  (void)ParseListPage(body);
  (void)ParseInitiatedUpload(body);
  (void)ParseUploadPage(body);
  (void)ParseDeleteErrors(body);
  (void)ParseElementText(body, "CompleteMultipartUploadResult/ETag");
  S3ErrorDocument document;
  (void)ParseErrorDocument(body, document);
  HttpResponse response;
  response.status = 200 + static_cast<int>(size % 400);
  response.body.assign(body.begin(), body.end());
  for (bool expected : {false, true}) {
    S3Failure failure;
    if (IsFailure(response, expected, failure)) {
      (void)ToStatus(failure, "fuzz").ToString();
    }
  }
  (void)ParseHttpDate(AsText(body));
  (void)ParseIsoDate(AsText(body));
  return 0;
}
