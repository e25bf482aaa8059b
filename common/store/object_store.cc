#include "common/store/object_store.h"

#include <algorithm>

#include "common/base/ascii.h"

namespace sqlite_s3 {
namespace {

constexpr size_t kMaxKeyBytes = 900;

bool IsKeyCharacter(char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; }

// A hostile key may hold anything: what goes into a message, and so into a log, is printable.
std::string Printable(std::string_view key) {
  std::string text = "\"";
  for (char c : key.substr(0, 100)) {
    text += c >= ' ' && c <= '~' ? c : '?';
  }
  return text + (key.size() > 100 ? "...\"" : "\"");
}

// Checks all segments of `text` but the last one, which is returned.
Result<std::string_view> CheckSegments(std::string_view what, std::string_view text) {
  auto bad = [&](std::string_view why) {
    return InvalidArgumentError(std::string(what) + " " + Printable(text) + " " + std::string(why));
  };
  if (text.size() > kMaxKeyBytes) {
    return bad("is longer than 900 bytes");
  }
  size_t start = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '/') {
      std::string_view segment = text.substr(start, i - start);
      if (segment.empty() || segment == "." || segment == "..") {
        return bad("has an empty, \".\" or \"..\" segment");
      }
      start = i + 1;
    } else if (!IsKeyCharacter(text[i])) {
      return bad("has a character outside [A-Za-z0-9._-/]");
    }
  }
  return text.substr(start);
}

}  // namespace

Status ValidateObjectKey(std::string_view key) {
  ASSIGN_OR_RETURN(std::string_view last, CheckSegments("object key", key));
  if (last.empty() || last == "." || last == "..") {
    return InvalidArgumentError("object key " + Printable(key) +
                                " has an empty, \".\" or \"..\" segment");
  }
  return {};
}

Status ValidateObjectPrefix(std::string_view prefix) {
  return CheckSegments("prefix", prefix).status();
}

Status ValidateEtag(std::string_view etag) {
  const bool printable =
      std::all_of(etag.begin(), etag.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (etag.empty() || etag.size() > kMaxEtagBytes || !printable) {
    return InvalidArgumentError("etag " + Printable(etag) + " is none that a store gave out");
  }
  return {};
}

Status ValidateObjectKeys(std::span<const std::string> keys) {
  for (const std::string& key : keys) {
    RETURN_IF_ERROR(ValidateObjectKey(key));
  }
  return {};
}

std::vector<DeleteFailure> DeleteOneByOne(ObjectStore& store, std::span<const std::string> keys) {
  std::vector<DeleteFailure> failures;
  for (const std::string& key : keys) {
    if (Status status = store.Delete(key); !status.ok()) {
      failures.push_back({key, std::move(status)});
    }
  }
  return failures;
}

Status ForEachListed(ObjectStore& store, std::string_view prefix, std::string_view start_after,
                     const std::function<Status(ObjectInfo)>& found) {
  std::string last(start_after);
  while (true) {
    ASSIGN_OR_RETURN(std::vector<ObjectInfo> page, store.List(prefix, last, kMaxListKeys));
    if (page.empty()) {
      return Status::Ok();
    }
    for (ObjectInfo& info : page) {
      // Also what ends this loop for a store that ignores start_after.
      if (info.key <= last || !info.key.starts_with(prefix)) {
        return CorruptionError("list of " + Printable(prefix) + " in " + store.Describe() +
                               " is out of order at " + Printable(info.key));
      }
      last = info.key;
      RETURN_IF_ERROR(found(std::move(info)));
    }
  }
}

Result<std::vector<ObjectInfo>> ListAll(ObjectStore& store, std::string_view prefix,
                                        std::string_view start_after, size_t most) {
  std::vector<ObjectInfo> all;
  RETURN_IF_ERROR(ForEachListed(store, prefix, start_after, [&](ObjectInfo info) {
    if (all.size() == most) {
      return ResourceExhaustedError("there are more than " + std::to_string(most) +
                                    " objects under " + Printable(prefix) + " in " +
                                    store.Describe());
    }
    all.push_back(std::move(info));
    return Status::Ok();
  }));
  return all;
}

std::string StartAfterText(std::string_view start_after) {
  for (size_t i = 0; i < start_after.size(); ++i) {
    auto byte = static_cast<unsigned char>(start_after[i]);
    if (byte > 'z') return std::string(start_after.substr(0, i)) + "~";
    if (byte <= ' ') return std::string(start_after.substr(0, i));
  }
  return std::string(start_after);
}

}  // namespace sqlite_s3
