#pragma once
// From results to responses: error documents, and storage's reasons as S3's codes.

#include "server/s3/call.h"
#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

// The error document, with the error's headers. HEAD's answers have no body: the status must do.
Response ErrorAnswer(const S3Error& error, const std::string& resource,
                     const std::string& request_id);
S3Error FromStorage(const StorageStatus& status);

}  // namespace sqlite_s3::server
