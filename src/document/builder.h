// Builds BSON documents:
//   std::string doc = Builder().Append("_id", 7).Append("tags", ArrayBuilder().Add("a").Add("b")).Finish();
// Not thread-safe; nothing blocks. Does not check sizes or names: pass what people gave to ValidateDocument.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "document/value.h"

namespace terrane::document {

class ArrayBuilder;

class Builder {
 public:
  Builder();

  // `name` must not hold NUL (checked).
  Builder& Append(std::string_view name, ValueView value);
  Builder& Append(std::string_view name, const Value& value) { return Append(name, value.view()); }
  Builder& Append(std::string_view name, const Builder& document);
  Builder& Append(std::string_view name, const ArrayBuilder& array);
  template <typename T>
  requires(std::is_arithmetic_v<T> || std::convertible_to<T, std::string_view>) Builder& Append(std::string_view name,
                                                                                                const T& value) {
    if constexpr (std::same_as<T, bool>) {
      return Append(name, Value::Bool(value));
    } else if constexpr (std::floating_point<T>) {
      return Append(name, Value::Double(value));
    } else if constexpr (std::integral<T>) {
      static_assert(sizeof(T) < 8 || std::signed_integral<T>, "BSON has no unsigned 64-bit number");
      if constexpr (sizeof(T) < 4 || (sizeof(T) == 4 && std::signed_integral<T>)) {
        return Append(name, Value::Int32(value));
      } else {
        return Append(name, Value::Int64(value));
      }
    } else {
      return Append(name, Value::String(value));
    }
  }
  Builder& AppendNull(std::string_view name) { return Append(name, Value::Null()); }
  Builder& AppendDocument(std::string_view name, std::string_view bson) { return Append(name, Value::Document(bson)); }
  Builder& AppendArray(std::string_view name, std::string_view bson) { return Append(name, Value::Array(bson)); }
  // A whole element as Field::element has it.
  Builder& AppendElement(std::string_view element);

  // The document; the builder goes on, so it can be asked again after more fields.
  std::string Finish() const;

 private:
  std::string bytes_;
};

class ArrayBuilder {
 public:
  template <typename T>
  ArrayBuilder& Add(const T& value) {
    fields_.Append(std::to_string(size_++), value);
    return *this;
  }
  ArrayBuilder& AddDocument(std::string_view bson) { return Add(Value::Document(bson)); }
  int size() const { return size_; }
  std::string Finish() const { return fields_.Finish(); }

 private:
  Builder fields_;
  int size_ = 0;
};

}  // namespace terrane::document
