#pragma once
// What is known of virtual tables whose modules come with SQLite: which tables are their storage,
// and which can make their index anew from their content.

#include <string>

#include "restore/rows/schema.h"

namespace sqlite_s3 {

// The module of a CREATE VIRTUAL TABLE, in lower case; "" when it has none.
std::string ModuleOf(const std::string& sql);
// The virtual table whose storage `table` is, or null. Of a module that is not known: any table
// whose name goes on with "_" after the virtual table's.
const SchemaObject* OwnerOf(const Schema& schema, const std::string& table);
// Whether a storage table holds only what 'rebuild' makes anew from the content: the index of a
// full-text table that has its content, or names the table that has it.
bool IsRebuildable(const Schema& schema, const SchemaObject& owner, const std::string& table);
// Whether CREATE VIRTUAL TABLE makes the storage tables, and DROP TABLE drops them.
bool IsKnownModule(const std::string& module);

}  // namespace sqlite_s3
