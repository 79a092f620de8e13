// Updates: a new document from an old one. MongoDB's meaning, or refused by name.
//
// Operators: $set $unset $inc $mul $min $max $rename $push (with $each, $position, $slice) $addToSet (with $each) $pop
// $pull $currentDate $setOnInsert. Or a replacement document (no name at its top level begins with $). Positional
// operators ($, $[], $[name]), $bit, $pullAll, $sort inside of $push and pipelines are refused by name.
//
// A new document keeps the bytes and the place of every field that was not named; new fields come last, in the order of
// their paths (numbers by value). Immutable after Parse: cheap to copy, thread-safe, never blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/filter.h"

namespace terrane::document {

struct UpdatePlan;

class Update {
 public:
  // kInvalidArgument, naming operator and path: unknown operators, two paths of which one lies in the other
  // ("updating the path 'a.b' would create a conflict at 'a'"), operands of the wrong type, paths with empty
  // components.
  static absl::StatusOr<Update> Parse(std::string_view bson);

  bool is_replacement() const;
  // Every path that the update names, for checks against the shard key; for a replacement empty: it names all.
  const std::vector<std::string>& paths() const;

  // The new document; equal bytes if nothing changed. `wall_ms` is the time for $currentDate.
  // kInvalidArgument ("cannot $inc field 'a': it is of type string"): the operator does not fit what is there, an int64
  // overflows, `_id` would change, the result exceeds kMaxDocumentBytes or kMaxNesting. `$setOnInsert` does nothing
  // here.
  absl::StatusOr<std::string> Apply(std::string_view old_doc, int64_t wall_ms = 0) const;

  // The document that an upsert inserts when nothing matched: the values that the filter's equalities pin, then this
  // update with $setOnInsert, `_id` moved to the front. If neither names an `_id` the result has none: WithId() adds
  // it. For a replacement only `_id` comes from the filter, which must not name a part of it.
  absl::StatusOr<std::string> ApplyAsUpsert(const Filter& filter, int64_t wall_ms = 0) const;

 private:
  std::shared_ptr<const UpdatePlan> plan_;
};

}  // namespace terrane::document
