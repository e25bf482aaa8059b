#pragma once
// Text rules of keys, and what names are compared by.

#include <string>
#include <string_view>

#include "server/storage/storage_status.h"

namespace sqlite_s3::server {

// No overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text);

// Not empty, at most kMaxKeyBytes, UTF-8.
StorageStatus CheckKey(std::string_view key);

// The first text, byte by byte, after all that begin with `prefix`; not UTF-8 perhaps. REQUIRES:
// `prefix` is not empty and UTF-8, so its last byte can be raised.
std::string AfterPrefix(std::string_view prefix);

// The first text after `text`.
std::string Next(std::string_view text);

}  // namespace sqlite_s3::server
