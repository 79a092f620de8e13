// Projections: which fields of a document a reader gets. MongoDB's meaning, or refused by name.
//
// {a: 1, "b.c": 1} keeps these fields (and `_id`, unless _id: 0); {a: 0} leaves fields out; the two are not mixed, but
// for
// `_id`. Paths go through arrays: the rest of the path applies to each of their documents. Values are numbers or
// booleans; expressions, $slice, $elemMatch, $meta and the positional operator are refused by name. Immutable after
// Parse: cheap to copy, thread-safe, never blocks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace terrane::document {

struct ProjectionNode;

class Projection {
 public:
  // Keeps everything.
  Projection() = default;
  // kInvalidArgument, naming the field.
  static absl::StatusOr<Projection> Parse(std::string_view bson);

  bool keeps_everything() const { return root_ == nullptr; }
  // Fields keep their order and their bytes.
  std::string Apply(std::string_view doc) const;

 private:
  std::shared_ptr<const ProjectionNode> root_;  // null: keeps everything
  bool inclusive_ = false;
};

}  // namespace terrane::document
