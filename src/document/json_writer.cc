// Extended JSON out of BSON.
#include <charconv>
#include <cmath>

#include "absl/strings/escaping.h"
#include "common/strings.h"
#include "document/extended_json.h"
#include "document/json_dates.h"

namespace terrane::document {
namespace {

std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString(ToAbsl(bytes));
}
std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(ToAbsl(bytes));
}

// The shortest text that reads back as the same double; always with a point or an exponent.
std::string DoubleText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char buffer[32];
  auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  return text.find_first_of(".e") == text.npos ? text + ".0" : text;
}

class Writer {
 public:
  explicit Writer(bool relaxed) : relaxed_(relaxed) {}

  void Document(std::string_view bson) {
    out_ += '{';
    std::string_view comma;
    for (const Field& field : Fields(bson)) {
      StrAppend(&out_, comma);
      comma = ", ";
      String(field.name);
      out_ += ": ";
      Any(field.value);
    }
    out_ += '}';
  }

  void Any(ValueView value) {
    switch (value.type()) {
      case Type::kNull:
        out_ += "null";
        return;
      case Type::kBool:
        out_ += value.AsBool() ? "true" : "false";
        return;
      case Type::kString:
        return String(value.AsString());
      case Type::kDocument:
        return Document(value.AsDocument());
      case Type::kArray:
        return Array(value.AsDocument());
      case Type::kInt32:
        return Number("$numberInt", StrCat(value.AsInt32()), true);
      case Type::kInt64:
        return Number("$numberLong", StrCat(value.AsInt64()), true);
      case Type::kDouble:
        return Number("$numberDouble", DoubleText(value.AsDouble()), std::isfinite(value.AsDouble()));
      case Type::kDecimal128:
        return Wrapped("$numberDecimal", DecimalToString(value.AsDecimal128()));
      case Type::kObjectId:
        return Wrapped("$oid", Hex(value.AsObjectId()));
      case Type::kSymbol:
        return Wrapped("$symbol", value.AsString());
      case Type::kCode:
        return Wrapped("$code", value.AsString());
      case Type::kDate:
        return Date(value.AsDateMs());
      case Type::kUndefined:
        out_ += R"({"$undefined": true})";
        return;
      case Type::kMinKey:
        out_ += R"({"$minKey": 1})";
        return;
      case Type::kMaxKey:
        out_ += R"({"$maxKey": 1})";
        return;
      case Type::kBinary:
        out_ += R"({"$binary": {"base64": ")" + Base64(value.AsBinary()) + R"(", "subType": ")";
        out_ += Hex(std::string(1, static_cast<char>(value.BinarySubtype()))) + R"("}})";
        return;
      case Type::kRegex:
        out_ += R"({"$regularExpression": {"pattern": )";
        String(value.RegexPattern());
        out_ += R"(, "options": )";
        String(value.RegexOptions());
        out_ += "}}";
        return;
      case Type::kTimestamp:
        StrAppend(&out_, R"({"$timestamp": {"t": )", value.AsTimestamp() >> 32, R"(, "i": )",
                  value.AsTimestamp() & 0xFFFFFFFF, "}}");
        return;
      case Type::kDbPointer:
        out_ += R"({"$dbPointer": {"$ref": )";
        String(value.DbPointerRef());
        out_ += R"(, "$id": )";
        Wrapped("$oid", Hex(value.DbPointerId()));
        out_ += "}}";
        return;
      case Type::kCodeWithScope:
        out_ += R"({"$code": )";
        String(value.CodeText());
        out_ += R"(, "$scope": )";
        Document(value.CodeScope());
        out_ += '}';
        return;
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  void Array(std::string_view bson) {
    out_ += '[';
    std::string_view comma;
    for (const Field& field : Fields(bson)) {
      StrAppend(&out_, comma);
      comma = ", ";
      Any(field.value);
    }
    out_ += ']';
  }

  void Number(std::string_view wrapper, const std::string& text, bool plain_if_relaxed) {
    if (relaxed_ && plain_if_relaxed) {
      out_ += text;
    } else {
      Wrapped(wrapper, text);
    }
  }

  void Date(int64_t ms) {
    std::optional<std::string> iso;
    if (relaxed_) iso = FormatIsoDate(ms);
    if (iso) return Wrapped("$date", *iso);
    out_ += R"({"$date": )";
    Wrapped("$numberLong", StrCat(ms));
    out_ += '}';
  }

  void Wrapped(std::string_view wrapper, std::string_view text) {
    StrAppend(&out_, "{\"", wrapper, "\": ");
    String(text);
    out_ += '}';
  }

  void String(std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    out_ += '"';
    for (char c : text) {
      switch (c) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\b':
          out_ += "\\b";
          break;
        case '\f':
          out_ += "\\f";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        default:
          if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
            out_ += "\\u00";
            out_ += kHex[c >> 4];
            out_ += kHex[c & 15];
          } else {
            out_ += c;
          }
      }
    }
    out_ += '"';
  }

  bool relaxed_;
  std::string out_;
};

}  // namespace

std::string ToRelaxedJson(std::string_view bson) {
  return ToRelaxedJson(ValueView(Type::kDocument, bson));
}
std::string ToCanonicalJson(std::string_view bson) {
  return ToCanonicalJson(ValueView(Type::kDocument, bson));
}

std::string ToRelaxedJson(ValueView value) {
  Writer writer(/*relaxed=*/true);
  writer.Any(value);
  return writer.Take();
}

std::string ToCanonicalJson(ValueView value) {
  Writer writer(/*relaxed=*/false);
  writer.Any(value);
  return writer.Take();
}

}  // namespace terrane::document
