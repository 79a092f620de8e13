#include "document/builder.h"

#include "document/bytes.h"

namespace terrane::document {

Builder::Builder() {
  OpenDocument(&bytes_);
}

Builder& Builder::Append(std::string_view name, ValueView value) {
  Require(name.find('\0') == name.npos, "a field name holds no NUL");
  AppendElementHead(static_cast<uint8_t>(value.type()), name, &bytes_);
  bytes_.append(value.bytes());
  return *this;
}

Builder& Builder::Append(std::string_view name, const Builder& document) {
  return Append(name, ValueView(Type::kDocument, document.Finish()));
}

Builder& Builder::Append(std::string_view name, const ArrayBuilder& array) {
  return Append(name, ValueView(Type::kArray, array.Finish()));
}

Builder& Builder::AppendElement(std::string_view element) {
  bytes_.append(element);
  return *this;
}

std::string Builder::Finish() const {
  std::string out = bytes_;
  CloseDocument(0, &out);
  return out;
}

}  // namespace terrane::document
