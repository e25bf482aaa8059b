#include "restore/rows/virtual_table.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace sqlite_s3 {
namespace {

struct Module {
  std::string_view name;
  std::span<const std::string_view>
      storage;                              // suffixes (fts3.html#shadowtabs, fts5.html#fts5_data)
  std::span<const std::string_view> index;  // those of them that 'rebuild' makes
};
constexpr std::array<std::string_view, 5> kFts4{"content", "docsize", "segdir", "segments", "stat"};
constexpr std::array<std::string_view, 4> kFts4Index{"docsize", "segdir", "segments", "stat"};
constexpr std::array<std::string_view, 5> kFts5{"config", "content", "data", "docsize", "idx"};
constexpr std::array<std::string_view, 3> kFts5Index{"data", "docsize", "idx"};
constexpr std::array<std::string_view, 3> kRtree{"node", "parent", "rowid"};
constexpr std::array<Module, 7> kModules{{{"fts3", kFts4, kFts4Index},
                                          {"fts4", kFts4, kFts4Index},
                                          {"fts5", kFts5, kFts5Index},
                                          {"fts5vocab", {}, {}},
                                          {"rtree", kRtree, {}},
                                          {"rtree_i32", kRtree, {}},
                                          {"geopoly", kRtree, {}}}};

const Module* Find(const std::string& name) {
  const auto found = std::find_if(kModules.begin(), kModules.end(),
                                  [&](const Module& m) { return m.name == name; });
  return found == kModules.end() ? nullptr : &*found;
}

bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// The words, quoted texts (with their quotes) and signs of an SQL text, without comments.
std::vector<std::string_view> Tokens(std::string_view sql) {
  std::vector<std::string_view> tokens;
  for (size_t at = 0; at < sql.size();) {
    size_t end = at + 1;
    const char c = sql[at];
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const char close = c == '[' ? ']' : c;
      while (end < sql.size() &&
             (sql[end] != close || (c != '[' && sql.substr(end + 1, 1) == sql.substr(end, 1)))) {
        end += sql[end] == close ? 2U : 1U;
      }
      end = std::min(end + 1, sql.size());
    } else if (sql.substr(at, 2) == "--") {
      end = std::min(sql.find('\n', at), sql.size());
    } else if (sql.substr(at, 2) == "/*") {
      const size_t close = sql.find("*/", at + 2);
      end = close == std::string_view::npos ? sql.size() : close + 2;
    } else if (IsWord(c)) {
      while (end < sql.size() && IsWord(sql[end])) {
        ++end;
      }
    }
    const bool comment = sql.substr(at, 2) == "--" || sql.substr(at, 2) == "/*";
    if (!comment && c != ' ' && c != '\n' && c != '\t' && c != '\r' && c != '\f') {
      tokens.push_back(sql.substr(at, end - at));
    }
    at = end;
  }
  return tokens;
}

std::string Lower(std::string_view word) { return ReferenceName(std::string(word)); }

// What `content=` names: nothing when it is not said, "" for a table without content.
std::optional<std::string> ContentOption(const std::string& sql) {
  const std::vector<std::string_view> tokens = Tokens(sql);
  for (size_t i = 0; i + 2 < tokens.size(); ++i) {
    if (Lower(tokens[i]) == "content" && tokens[i + 1] == "=") {
      std::string_view value = tokens[i + 2];
      const bool quoted = !IsWord(value.front());
      return std::string(quoted ? value.substr(1, value.size() > 1 ? value.size() - 2 : 0) : value);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string ModuleOf(const std::string& sql) {
  const std::vector<std::string_view> tokens = Tokens(sql);
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (Lower(tokens[i]) == "using") {
      return Lower(tokens[i + 1]);
    }
  }
  return "";
}

bool IsKnownModule(const std::string& module) { return Find(module) != nullptr; }

const SchemaObject* OwnerOf(const Schema& schema, const std::string& table) {
  for (size_t at = table.find('_'); at != std::string::npos; at = table.find('_', at + 1)) {
    auto owner = schema.find({"table", table.substr(0, at)});
    if (owner == schema.end() || !owner->second.virtual_table()) {
      continue;
    }
    const Module* module = Find(ModuleOf(owner->second.sql));
    if (module == nullptr || std::find(module->storage.begin(), module->storage.end(),
                                       table.substr(at + 1)) != module->storage.end()) {
      return &owner->second;
    }
  }
  return nullptr;
}

bool IsRebuildable(const Schema& schema, const SchemaObject& owner, const std::string& table) {
  const Module* module = Find(ModuleOf(owner.sql));
  if (module == nullptr || !table.starts_with(owner.name + "_") ||
      std::find(module->index.begin(), module->index.end(), table.substr(owner.name.size() + 1)) ==
          module->index.end()) {
    return false;
  }
  const auto content = ContentOption(owner.sql);
  return content ? !content->empty() : schema.contains({"table", owner.name + "_content"});
}

}  // namespace sqlite_s3
