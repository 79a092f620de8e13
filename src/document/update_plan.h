// Internal: a parsed update.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "document/filter.h"
#include "document/update_tree.h"
#include "document/value.h"

namespace terrane::document {

struct UpdateAction {
  enum class Kind {
    kSet,
    kSetOnInsert,
    kUnset,
    kInc,
    kMul,
    kMin,
    kMax,
    kRename,
    kPush,
    kAddToSet,
    kPop,
    kPull,
    kCurrentDate,
    kCurrentTimestamp,
  };

  Kind kind;
  std::string op;    // "$inc", for messages
  std::string path;  // for kRename the new one
  Value operand;
  std::string source;               // kRename: the old path
  std::vector<Value> elements;      // kPush, kAddToSet
  std::optional<int64_t> position;  // kPush
  std::optional<int64_t> slice;     // kPush
  bool from_front = false;          // kPop
  std::optional<Filter> filter;     // kPull
};

struct UpdatePlan {
  bool is_replacement = false;
  std::string replacement;
  std::vector<UpdateAction> actions;  // in the order of their paths
  std::vector<std::string> paths;
};

// Carries one action out. kInvalidArgument if it does not fit what is there.
absl::Status ApplyAction(const UpdateAction& action, int64_t wall_ms, UpdateTree* tree);

}  // namespace terrane::document
