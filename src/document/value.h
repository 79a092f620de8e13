// BSON values as views into document bytes, and their order.
//
// A document is BSON bytes in a std::string or std::string_view. Everything here takes documents that ValidateDocument
// or ValidateStructure (validate.h) has accepted. Damaged bytes never cause a read outside of the view, but the answers
// are then unspecified. All functions are pure and thread-safe; nothing blocks; nothing throws but std::bad_alloc.
#pragma once

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace terrane::document {

// BSON's type bytes.
enum class Type : uint8_t {
  kDouble = 0x01,
  kString = 0x02,
  kDocument = 0x03,
  kArray = 0x04,
  kBinary = 0x05,
  kUndefined = 0x06,
  kObjectId = 0x07,
  kBool = 0x08,
  kDate = 0x09,
  kNull = 0x0A,
  kRegex = 0x0B,
  kDbPointer = 0x0C,
  kCode = 0x0D,
  kSymbol = 0x0E,
  kCodeWithScope = 0x0F,
  kInt32 = 0x10,
  kTimestamp = 0x11,
  kInt64 = 0x12,
  kDecimal128 = 0x13,
  kMaxKey = 0x7F,
  kMinKey = 0xFF,
};

// MongoDB's alias of the type: "double", "string", "object", "array", "binData", "objectId", "int", "long", ...
std::string_view TypeName(Type type);

// BSON's decimal128: the two halves of the IEEE 754-2008 BID encoding.
struct Decimal128 {
  uint64_t high = 0;
  uint64_t low = 0;
  friend bool operator==(const Decimal128&, const Decimal128&) = default;
};

// Reads "1.50", "-3E+7", "Infinity", "NaN"; nullopt if the text is anything else or needs more than 34 digits.
std::optional<Decimal128> DecimalFromString(std::string_view text);
std::string DecimalToString(Decimal128 value);

// A value inside of BSON bytes that somebody else keeps alive. Two words; pass by value.
//
// The accessors need the type that their comment names (checked; a mistake of our own code ends the process).
class ValueView {
 public:
  // `bytes` are the value's bytes as in BSON, without type byte and name. The default is null.
  ValueView() = default;
  ValueView(Type type, std::string_view bytes) : bytes_(bytes), type_(type) {}

  Type type() const { return type_; }
  std::string_view bytes() const { return bytes_; }

  bool IsNumber() const;  // int32, int64, double, decimal128
  bool IsContainer() const { return type_ == Type::kDocument || type_ == Type::kArray; }

  double AsDouble() const;                // kDouble
  int32_t AsInt32() const;                // kInt32
  int64_t AsInt64() const;                // kInt32, kInt64
  Decimal128 AsDecimal128() const;        // kDecimal128
  bool AsBool() const;                    // kBool
  int64_t AsDateMs() const;               // kDate: milliseconds since the epoch
  uint64_t AsTimestamp() const;           // kTimestamp: seconds << 32 | increment
  std::string_view AsString() const;      // kString, kSymbol, kCode; may hold NUL
  std::string_view AsDocument() const;    // kDocument, kArray: the BSON bytes
  std::string_view AsObjectId() const;    // kObjectId: 12 bytes
  std::string_view AsBinary() const;      // kBinary: without subtype
  uint8_t BinarySubtype() const;          // kBinary
  std::string_view RegexPattern() const;  // kRegex
  std::string_view RegexOptions() const;  // kRegex
  std::string_view DbPointerRef() const;  // kDbPointer: the namespace
  std::string_view DbPointerId() const;   // kDbPointer: 12 bytes
  std::string_view CodeText() const;      // kCodeWithScope
  std::string_view CodeScope() const;     // kCodeWithScope: BSON bytes

  // A number that is integral and fits; nullopt for everything else, so also for 1.5, NaN and "7".
  std::optional<int64_t> ToInt64() const;

 private:
  std::string_view bytes_;
  Type type_ = Type::kNull;
};

// A value that owns its bytes.
class Value {
 public:
  Value() = default;  // null
  explicit Value(ValueView view) : bytes_(view.bytes()), type_(view.type()) {}
  Value(Type type, std::string bytes) : bytes_(std::move(bytes)), type_(type) {}

  static Value Null();
  static Value Bool(bool value);
  static Value Int32(int32_t value);
  static Value Int64(int64_t value);
  static Value Double(double value);
  static Value Decimal(Decimal128 value);
  static Value String(std::string_view value);
  static Value Date(int64_t ms);
  static Value Timestamp(uint32_t seconds, uint32_t increment);
  static Value ObjectId(std::string_view twelve_bytes);
  static Value Binary(std::string_view data, uint8_t subtype = 0);
  static Value Regex(std::string_view pattern, std::string_view options);  // neither may hold NUL
  static Value Document(std::string_view bson);
  static Value Array(std::string_view bson);
  static Value MinKey();
  static Value MaxKey();

  Type type() const { return type_; }
  ValueView view() const { return {type_, bytes_}; }
  operator ValueView() const { return view(); }  // NOLINT: a Value is usable wherever a view is

 private:
  std::string bytes_;
  Type type_ = Type::kNull;
};

struct Field {
  std::string_view name;
  ValueView value;
  std::string_view element;  // the whole element: type byte, name, value
};

// The fields of a document, or the elements of an array, in order:
//   for (Field field : Fields(doc)) ...
// The bytes must outlive the loop. Stops early at damaged bytes.
class Fields {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Field;
    using difference_type = std::ptrdiff_t;
    using pointer = const Field*;
    using reference = const Field&;
    explicit Iterator(std::string_view rest) : rest_(rest) { Read(); }
    const Field& operator*() const { return field_; }
    const Field* operator->() const { return &field_; }
    Iterator& operator++() {
      Read();
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return done_; }

   private:
    void Read();
    std::string_view rest_;
    Field field_;
    bool done_ = false;
  };

  explicit Fields(std::string_view bson) : bson_(bson) {}
  Iterator begin() const;
  std::default_sentinel_t end() const { return {}; }

 private:
  std::string_view bson_;
};

// The size in bytes of a value of the type at the start of `rest`; nullopt if it does not fit or the type is unknown.
std::optional<size_t> ValueSize(Type type, std::string_view rest);

// The first field of that very name; dots have no meaning.
std::optional<ValueView> FindDirect(std::string_view bson, std::string_view name);

// The value at a dotted path through documents ("address.city"). Does not look into arrays: that is what filters are
// for.
std::optional<ValueView> FindField(std::string_view bson, std::string_view path);

// MongoDB's order of types: minKey, undefined, null, numbers, strings and symbols, object, array, binData, objectId,
// bool, date, timestamp, regex, dbPointer, code, code with scope, maxKey. Values of one rank compare by content.
int TypeRank(Type type);

// < 0, 0 or > 0: MongoDB's comparison order over values of all types. Numbers compare by exact value across types
// (2^53 + 1 as long > 2^53 as double; 0.1 as double > 0.1 as decimal); -0.0 equals 0; NaN equals NaN and is the least
// number. Documents compare field by field: type, name, value. A total order; the same as memcmp of AppendKey's bytes.
int Compare(ValueView a, ValueView b);
inline bool Equal(ValueView a, ValueView b) {
  return Compare(a, b) == 0;
}

}  // namespace terrane::document
