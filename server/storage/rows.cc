#include "server/storage/rows.h"

#include <nlohmann/json.hpp>

#include "server/storage/text.h"

namespace sqlite_s3::server {

std::string NameValuesToJson(const NameValues& values) {
  if (values.empty()) {
    return {};
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [name, value] : values) {
    json[name] = value;
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

NameValues NameValuesFromJson(std::string_view text) {
  NameValues values;
  if (text.empty()) {
    return values;
  }
  auto json = nlohmann::ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return values;
  }
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) {
      values.emplace_back(name, value.get<std::string>());
    }
  }
  return values;
}

StorageStatus CheckAttributes(const ObjectAttributes& a) {
  for (const std::string* text :
       {&a.content_type, &a.content_encoding, &a.content_language, &a.content_disposition,
        &a.cache_control, &a.expires, &a.redirect, &a.storage_class, &a.acl, &a.owner}) {
    if (!IsUtf8(*text)) {
      return {Reason::kInvalidArgument, "a header is not UTF-8"};
    }
  }
  for (const NameValues* list : {&a.metadata, &a.tags}) {
    for (const auto& [name, value] : *list) {
      if (!IsUtf8(name) || !IsUtf8(value)) {
        return {Reason::kInvalidArgument, "metadata or a tag is not UTF-8"};
      }
    }
  }
  return {};
}

ObjectAttributes ReadAttributes(const SqlQuery& query, int column) {
  ObjectAttributes a;
  std::string* const texts[] = {&a.storage_class,
                                &a.owner,
                                &a.acl,
                                &a.content_type,
                                &a.content_encoding,
                                &a.content_language,
                                &a.content_disposition,
                                &a.cache_control,
                                &a.expires,
                                &a.redirect};
  for (std::string* text : texts) {
    *text = query.Text(column++);
  }
  a.metadata = NameValuesFromJson(query.Text(column++));
  a.tags = NameValuesFromJson(query.Text(column));
  return a;
}

void BindAttributes(SqlQuery& query, int index, const ObjectAttributes& a, BoundAttributes& bound) {
  bound.metadata = NameValuesToJson(a.metadata);
  bound.tags = NameValuesToJson(a.tags);
  for (const std::string* text :
       {&a.storage_class, &a.owner, &a.acl, &a.content_type, &a.content_encoding,
        &a.content_language, &a.content_disposition, &a.cache_control, &a.expires, &a.redirect,
        &std::as_const(bound.metadata), &std::as_const(bound.tags)}) {
    query.BindOrNull(index++, *text);
  }
}

ObjectRow ReadObject(const SqlQuery& query, int column, bool full) {
  ObjectRow row;
  ObjectInfo& info = row.info;
  info.key = query.Text(column);
  row.seq = query.Int(column + 1);
  info.version_id = query.Text(column + 2);
  info.modified_us = query.Int(column + 3);
  info.is_delete_marker = query.Int(column + 4) != 0;
  info.size_bytes = static_cast<uint64_t>(query.Int(column + 5));
  info.etag = query.Text(column + 6);
  row.content = query.Int(column + 7);
  info.part_count = static_cast<int>(query.Int(column + 8));
  info.checksum.algorithm = query.Text(column + 9);
  info.checksum.value = query.Text(column + 10);
  info.checksum.type = query.Text(column + 11);
  if (full) {
    info.attributes = ReadAttributes(query, column + 12);
  } else {
    info.attributes.storage_class = query.Text(column + 12);
    info.attributes.owner = query.Text(column + 13);
  }
  return row;
}

void BindObject(SqlQuery& query, const ObjectRow& row, BoundAttributes& bound) {
  const ObjectInfo& info = row.info;
  query.Bind(1, info.key)
      .Bind(2, row.seq)
      .Bind(3, info.version_id)
      .Bind(4, info.modified_us)
      .Bind(5, int64_t{info.is_delete_marker})
      .Bind(6, static_cast<int64_t>(info.size_bytes))
      .Bind(7, info.etag)
      .Bind(9, int64_t{info.part_count})
      .BindOrNull(10, info.checksum.algorithm)
      .BindOrNull(11, info.checksum.value)
      .BindOrNull(12, info.checksum.type);
  if (row.content != 0) {
    query.Bind(8, row.content);
  }
  BindAttributes(query, 13, info.attributes, bound);
}

}  // namespace sqlite_s3::server
