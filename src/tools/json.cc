#include "tools/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cmath>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/strings.h"
#include "document/extended_json.h"

namespace terrane::tools {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string Number(double value) {
  if (!std::isfinite(value)) return "null";
  return absl::StrFormat("%.6g", value);
}

std::string Bytes(const FieldDescriptor& field, const std::string& value) {
  if (field.full_name() == "terrane.v1.Collection.shard_key" && !value.empty()) {
    return document::ToRelaxedJson(value);
  }
  return JsonString(absl::BytesToHexString(value));
}

// `index` < 0: the field is not repeated.
std::string FieldValue(const Message& message, const FieldDescriptor* field, int index) {
  const auto* r = message.GetReflection();
  const bool many = index >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return StrCat(many ? r->GetRepeatedInt32(message, field, index) : r->GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return StrCat(many ? r->GetRepeatedInt64(message, field, index) : r->GetInt64(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return StrCat(many ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return StrCat(many ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(many ? r->GetRepeatedDouble(message, field, index) : r->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return Number(many ? r->GetRepeatedFloat(message, field, index) : r->GetFloat(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (many ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field)) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return JsonString((many ? r->GetRepeatedEnum(message, field, index) : r->GetEnum(message, field))->name());
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string value = many ? r->GetRepeatedString(message, field, index) : r->GetString(message, field);
      return field->type() == FieldDescriptor::TYPE_BYTES ? Bytes(*field, value) : JsonString(value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(many ? r->GetRepeatedMessage(message, field, index) : r->GetMessage(message, field));
  }
  return "null";
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += absl::StrFormat("\\u%04x", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

JsonObject& JsonObject::Add(std::string_view name, double value) {
  return AddRaw(name, Number(value));
}

JsonObject& JsonObject::AddRaw(std::string_view name, std::string_view json) {
  StrAppend(&text_, text_.size() > 1 ? ", " : "", JsonString(name), ": ", json);
  return *this;
}

std::string JsonArray(const std::vector<std::string>& items) {
  return StrCat("[", absl::StrJoin(items, ", "), "]");
}

std::string ToJson(const Message& message) {
  JsonObject object;
  const auto* descriptor = message.GetDescriptor();
  const auto* reflection = message.GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated()) {
      std::vector<std::string> items;
      for (int k = 0; k < reflection->FieldSize(message, field); ++k) items.push_back(FieldValue(message, field, k));
      object.AddRaw(field->name(), JsonArray(items));
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || reflection->HasField(message, field)) {
      object.AddRaw(field->name(), FieldValue(message, field, -1));
    }
  }
  return object.Finish();
}

}  // namespace terrane::tools
