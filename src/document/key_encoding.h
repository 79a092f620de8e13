// Values as bytes whose memcmp order is the order of Compare(): what documents, indexes and routes are sorted by.
//
// Stored on disk and sent between processes: the format never changes without a new format version.
//
//   value    := tag body                        no encoding is a prefix of another, so values can be concatenated
//   0x05 minKey, 0x08 undefined, 0x0A null, 0xF0 maxKey                      no body
//   0x10 NaN, 0x12 zero                                                       no body
//   0x11 negative number, 0x13 positive number: the magnitude, all bits inverted for negative ones:
//        8 bytes, the greatest double <= magnitude (infinity included), big endian;
//        0x00 if that is the value itself, else 0x01, decimal exponent + 7000 (2 bytes), the 34-digit coefficient (16)
//   0x20 string, symbol; 0x60 code: bytes, 0x00 as 00 FF; then 00 01
//   0x28 document: per field tag (0x10 for every number), name (as a string), for numbers the tag itself, body; then
//   0x00 0x30 array: the values; then 0x00 0x38 binary: length (4), subtype, bytes      0x40 objectId: 12 bytes 0x48
//   bool: 0x00 or 0x01 0x50 date: 8 bytes, sign bit inverted        0x54 timestamp: 8 bytes           0x58 regex:
//   pattern, options 0x5C dbPointer: length (4), namespace, id    0x64 code with scope: code, then the scope as a
//   document's body All integers are big endian.
//
// Pure and thread-safe. Values must come from validated documents.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "document/value.h"

namespace terrane::document {

// Appends the encoding. Equal(a, b) if and only if the bytes are equal; so 7, 7L, 7.0 and decimal 7.00 are one `_id`.
void AppendKey(ValueView value, std::string* out);
std::string EncodeKey(ValueView value);

// Takes one value from the front of `*rest`. The result equals (Compare) the value that was encoded, but a number may
// be of another type and a symbol comes back as a string. kDataLoss if the bytes are no encoding; `*rest` is then
// unspecified.
absl::StatusOr<Value> DecodeKey(std::string_view* rest);

// Only skips it: the number of bytes of the first value; kDataLoss as above.
absl::StatusOr<size_t> KeySize(std::string_view bytes);

// The least string that is greater than every string that begins with `prefix`; nullopt if there is none (all 0xFF).
// [prefix, PrefixEnd(prefix)) is the range of all keys that begin with it.
std::optional<std::string> PrefixEnd(std::string_view prefix);

}  // namespace terrane::document
