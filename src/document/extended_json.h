// MongoDB Extended JSON v2: documents as people write and read them.
//
// Reads canonical and relaxed form: $oid $date $numberInt $numberLong $numberDouble $numberDecimal $binary $uuid
// $regularExpression $timestamp $code $scope $symbol $dbPointer $minKey $maxKey $undefined. A wrapper with wrong
// content is refused, and so are the forms of version 1 ({"$date": 17}, {"$binary": "..", "$type": ".."}). Whole
// numbers become int32, int64 or, beyond that, double; all others double. Names and their order are kept. (A reader of
// our own over RapidJSON's tokens: libbson's refuses {"$type": 2}, makes a value of {"$regex": ..} and takes "abc" for
// a decimal NaN.)
//
// Pure, thread-safe, never blocks; uses a bounded amount of stack whatever the input.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/value.h"

namespace terrane::document {

enum class JsonMode {
  // A document to be stored: {"$regex": "x", "$options": "i"} is refused, because its writer means a regular
  // expression,
  // which is written {"$regularExpression": ..}. No name twice at the top level.
  kDocument,
  // A filter, an update, a projection: $type, $regex, $gt, $set and so on stay what they are.
  kQuery,
};

// One document. The result passes ValidateStructure, for kDocument ValidateDocument.
// kInvalidArgument, with line (from `first_line`; left out when the text is a single line) and column, both from 1, and
// what was expected: `not JSON at column 29: NaN (write {"$numberDouble": "NaN"})`.
absl::StatusOr<std::string> DocumentFromJson(std::string_view json, JsonMode mode = JsonMode::kDocument,
                                             int first_line = 1);

// One document, an array of documents, or documents one after the other.
absl::StatusOr<std::vector<std::string>> DocumentsFromJson(std::string_view json, JsonMode mode = JsonMode::kDocument);

// Any single value.
absl::StatusOr<Value> ValueFromJson(std::string_view json, JsonMode mode = JsonMode::kDocument);

// For people, on one line: {"_id": 4711, "customer": "c-17"}. Reading it back gives equal numbers, maybe of other
// types.
std::string ToRelaxedJson(std::string_view bson);
std::string ToRelaxedJson(ValueView value);
// Exact: DocumentFromJson gives the same bytes again. Two things cannot be said in extended JSON: the payload of a NaN,
// and a document that looks like a wrapper.
std::string ToCanonicalJson(std::string_view bson);
std::string ToCanonicalJson(ValueView value);

}  // namespace terrane::document
