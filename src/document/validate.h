// The gate for bytes from outside: what passes here can be handed to everything else in this library.
//
// Pure, thread-safe, never blocks. The walk is iterative: no input, however deep, uses more than a fixed amount of
// stack. Errors are kInvalidArgument; the message names the path of the field ("field 'items.3.name': string is not
// UTF-8").
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace terrane::document {

// Well-formed BSON of at most kMaxDocumentBytes and kMaxNesting levels: lengths fit, known types only, names and
// strings are UTF-8 (NUL inside of strings is allowed), booleans are 0 or 1, array keys are "0", "1", ... in order. For
// filters, updates and other documents that are not stored.
absl::Status ValidateStructure(std::string_view bson);

// ValidateStructure and what a stored document needs besides: no field name twice at the top level, and `_id`, if there
// is one, is no array, regular expression or undefined.
absl::Status ValidateDocument(std::string_view bson);

}  // namespace terrane::document
