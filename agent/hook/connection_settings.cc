#include "agent/hook/connection_settings.h"

#include "agent/hook/traced_text.h"
#include "common/format/statements.h"

namespace sqlite_s3 {

void ConnectionSettings::OnPragma(const std::string& name, std::string_view sql) {
  stale_ = true;
  if (name == "case_sensitive_like") {
    case_sensitive_like_ = SaysOn(sql);
  }
}

uint32_t ConnectionSettings::Now() {
  if (stale_) {
    ReadSlow();
  }
  int foreign_keys = 0;
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &foreign_keys);
  return slow_ | (foreign_keys != 0 ? kSettingForeignKeys : 0u);
}

void ConnectionSettings::ReadSlow() {
  const auto number = [&](const char* pragma) -> int64_t {
    sqlite3_stmt* statement = nullptr;
    int64_t value = 0;
    if (sqlite3_prepare_v2(db_, pragma, -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      value = sqlite3_column_int64(statement, 0);
    }
    sqlite3_finalize(statement);
    return value;
  };
  uint32_t settings = 0;
  settings |= number("PRAGMA recursive_triggers") != 0 ? kSettingRecursiveTriggers : 0u;
  settings |= number("PRAGMA ignore_check_constraints") != 0 ? kSettingIgnoreChecks : 0u;
  settings |= number("PRAGMA reverse_unordered_selects") != 0 ? kSettingReverseUnordered : 0u;
  const bool defers = number("PRAGMA defer_foreign_keys") != 0;
  settings |= defers ? kSettingDeferKeys : 0u;
  const int64_t secure = number("PRAGMA main.secure_delete");
  settings |= secure == 1 ? kSettingSecureDelete : 0u;
  settings |= secure == 2 ? kSettingSecureDeleteFast : 0u;
  const auto is_on = [&](int which) {
    int on = 0;
    return sqlite3_db_config(db_, which, -1, &on) == SQLITE_OK && on != 0;
  };
  settings |= is_on(SQLITE_DBCONFIG_ENABLE_TRIGGER) ? 0u : kSettingNoTriggers;
  settings |= is_on(SQLITE_DBCONFIG_ENABLE_VIEW) ? 0u : kSettingNoViews;
  settings |= is_on(SQLITE_DBCONFIG_LEGACY_ALTER_TABLE) ? kSettingLegacyAlter : 0u;
  settings |= is_on(SQLITE_DBCONFIG_DQS_DML) ? 0u : kSettingNoDqsDml;
  settings |= is_on(SQLITE_DBCONFIG_DQS_DDL) ? 0u : kSettingNoDqsDdl;
  settings |= case_sensitive_like_ ? kSettingCaseSensitiveLike : 0u;
  slow_ = settings;
  stale_ = defers;  // each COMMIT switches it off
}

}  // namespace sqlite_s3
