#include "agent/hook/traced_text.h"

#include <cstring>

#include "common/sqlite/sql_tokens.h"

namespace sqlite_s3 {

bool IsInternal(sqlite3_stmt* statement, const char* text) {
  if (text[0] != '-' || text[1] != '-') {
    return false;
  }
  const char* own = sqlite3_sql(statement);
  return own == nullptr || std::strcmp(own, text) != 0;
}

bool MayMatter(const char* text) {
  while (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r' || *text == ';') {
    ++text;
  }
  switch (*text | 0x20) {
    case 'b':
    case 'c':
    case 'd':
    case 'e':
    case 'p':
    case 'r':
      return true;
    case 's':
      return (text[1] | 0x20) == 'a';
    default:
      return *text == '-' || *text == '/';  // behind a comment
  }
}

bool MakesOrDropsTrigger(const char* text) {
  SqlTokenizer tokens(text);
  const std::string_view verb = tokens.NextWord().text;
  return (EqualsIgnoringCase(verb, "create") || EqualsIgnoringCase(verb, "drop")) &&
         EqualsIgnoringCase(tokens.NextWord().text, "trigger");
}

bool IsLoggedPragma(const std::string& name) {
  return name == "user_version" || name == "application_id" || name == "incremental_vacuum";
}

bool SaysOn(std::string_view sql) {
  SqlTokenizer tokens(sql);
  bool on = false;
  for (SqlToken t = tokens.NextWord(); t.kind != SqlTokenKind::kEnd; t = tokens.NextWord()) {
    if (t.kind == SqlTokenKind::kWord || t.kind == SqlTokenKind::kNumber) {
      on = t.text == "1" || EqualsIgnoringCase(t.text, "on") ||
           EqualsIgnoringCase(t.text, "true") || EqualsIgnoringCase(t.text, "yes");
    }
  }
  return on;
}

}  // namespace sqlite_s3
