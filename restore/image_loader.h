#pragma once
// Writes the pages of an image into a file: parts are fetched, decoded and written in parallel, in
// bounded memory, and proved against the image's database checksum.

#include <string>

#include "common/replica/replica.h"
#include "restore/page_store.h"
#include "restore/progress.h"

namespace sqlite_s3 {

// Fetches with the replica's parallelism. What the file held is gone. After OK `pages` is in the
// state of the image, and its file is of the image's size, with zeros in the lock-byte page; it is
// not synced. kCorruption or kNotFound naming the object: then `damage` does too.
Status LoadImage(Replica& replica, const ImageManifest& image, PageStore& pages,
                 const std::string& path, Progress& progress, Damage* damage);

}  // namespace sqlite_s3
