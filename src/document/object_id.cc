#include "document/object_id.h"

#include <bson/bson.h>

#include "document/builder.h"
#include "document/value.h"

namespace terrane::document {

std::string GenerateObjectId() {
  bson_oid_t oid;
  bson_oid_init(&oid, nullptr);  // libbson's default context: thread-safe, renewed after fork
  return std::string(reinterpret_cast<const char*>(oid.bytes), sizeof(oid.bytes));
}

std::string WithId(std::string_view doc) {
  Fields fields(doc);
  auto first = fields.begin();
  if (first != fields.end() && first->name == "_id") return std::string(doc);
  Builder out;
  std::optional<ValueView> id = FindDirect(doc, "_id");
  if (id) {
    out.Append("_id", *id);
  } else {
    out.Append("_id", Value::ObjectId(GenerateObjectId()));
  }
  for (const Field& field : fields) {
    if (field.name != "_id") out.AppendElement(field.element);
  }
  return out.Finish();
}

}  // namespace terrane::document
