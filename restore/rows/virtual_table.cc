#include "restore/rows/virtual_table.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "common/base/ascii.h"
#include "common/sqlite/sql_tokens.h"

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

// What `content=` names: nothing when it is not said, "" for a table without content.
std::optional<std::string> ContentOption(const std::string& sql) {
  SqlTokenizer tokens(sql);
  for (SqlToken key = tokens.NextWord(); key.kind != SqlTokenKind::kEnd; key = tokens.NextWord()) {
    SqlTokenizer ahead = tokens;
    if (EqualsIgnoringCase(key.text, "content") && ahead.NextWord().text == "=") {
      const SqlToken value = ahead.NextWord();
      return value.kind == SqlTokenKind::kOther ? "" : UnquoteName(value);  // a comma: nothing
    }
  }
  return std::nullopt;
}

}  // namespace

std::string ModuleOf(const std::string& sql) {
  SqlTokenizer tokens(sql);
  for (SqlToken word = tokens.NextWord(); word.kind != SqlTokenKind::kEnd;
       word = tokens.NextWord()) {
    if (EqualsIgnoringCase(word.text, "using")) {  // none that is quoted: that is the table's name
      return ToLower(UnquoteName(tokens.NextWord()));
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
