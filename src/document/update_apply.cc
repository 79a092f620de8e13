// What the update operators do to a document.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/status.h"
#include "document/builder.h"
#include "document/bytes.h"
#include "document/update_plan.h"

namespace terrane::document {
namespace {

using Node = UpdateTree::Node;

template <typename... Args>
absl::Status Cannot(const UpdateAction& action, Args&&... args) {
  return InvalidArgument("cannot ", action.op, " field '", action.path, "': ", std::forward<Args>(args)...);
}

absl::Status WrongType(const UpdateAction& action, ValueView value) {
  return Cannot(action, "it is of type ", TypeName(value.type()));
}

double ToDouble(ValueView number) {
  return number.type() == Type::kDouble ? number.AsDouble() : static_cast<double>(number.AsInt64());
}

// int with int stays int while it fits, then becomes long; a long that overflows is an error; a double makes it a
// double.
absl::StatusOr<Value> Calculate(const UpdateAction& action, ValueView old) {
  ValueView operand = action.operand;
  bool add = action.kind == UpdateAction::Kind::kInc;
  if (old.type() == Type::kDecimal128 || operand.type() == Type::kDecimal128) {
    return Cannot(action, "arithmetic with decimals is not supported");
  }
  if (old.type() == Type::kDouble || operand.type() == Type::kDouble) {
    return Value::Double(add ? ToDouble(old) + ToDouble(operand) : ToDouble(old) * ToDouble(operand));
  }
  int64_t result = 0;
  bool overflow = add ? __builtin_add_overflow(old.AsInt64(), operand.AsInt64(), &result)
                      : __builtin_mul_overflow(old.AsInt64(), operand.AsInt64(), &result);
  if (overflow) return Cannot(action, "the result does not fit into a 64-bit integer");
  bool ints = old.type() == Type::kInt32 && operand.type() == Type::kInt32;
  bool fits = result >= std::numeric_limits<int32_t>::min() && result <= std::numeric_limits<int32_t>::max();
  return ints && fits ? Value::Int32(static_cast<int32_t>(result)) : Value::Int64(result);
}

// The product of nothing with a number is 0 of the number's type.
Value ZeroLike(ValueView operand) {
  switch (operand.type()) {
    case Type::kInt32:
      return Value::Int32(0);
    case Type::kInt64:
      return Value::Int64(0);
    case Type::kDecimal128:
      return Value::Decimal(*DecimalFromString("0"));
    default:
      return Value::Double(0);
  }
}

absl::Status ApplyArithmetic(const UpdateAction& action, Node* node, bool created, UpdateTree* tree) {
  if (created) {
    bool add = action.kind == UpdateAction::Kind::kInc;
    tree->AssignOwned(node, add ? action.operand : ZeroLike(action.operand));
    return absl::OkStatus();
  }
  if (!node->value.IsNumber()) return WrongType(action, node->value);
  TERRANE_ASSIGN_OR_RETURN(Value result, Calculate(action, node->value));
  tree->AssignOwned(node, std::move(result));
  return absl::OkStatus();
}

absl::Status ApplyRename(const UpdateAction& action, UpdateTree* tree) {
  Node* source = tree->Find(action.source);
  if (source == nullptr) return absl::OkStatus();
  for (const std::string* path : {&action.source, &action.path}) {
    if (tree->LeadsThroughArray(*path)) return Cannot(action, "'", *path, "' lies in an array");
  }
  ValueView value = tree->Current(*source);
  tree->Remove(action.source);
  bool created = false;
  TERRANE_ASSIGN_OR_RETURN(Node * target, tree->FindOrCreate(action.path, action.op, &created));
  UpdateTree::Assign(target, value);
  return absl::OkStatus();
}

// The array at the path, made if `create`; nullptr if there is none.
absl::StatusOr<Node*> FindArray(const UpdateAction& action, bool create, UpdateTree* tree) {
  bool created = false;
  Node* node = nullptr;
  if (create) {
    TERRANE_ASSIGN_OR_RETURN(node, tree->FindOrCreate(action.path, action.op, &created));
    if (created) tree->AssignOwned(node, Value::Array(Builder().Finish()));
  } else {
    node = tree->Find(action.path);
  }
  if (node != nullptr && !UpdateTree::IsArray(*node)) return WrongType(action, node->value);
  return node;
}

absl::Status ApplyPush(const UpdateAction& action, UpdateTree* tree) {
  TERRANE_ASSIGN_OR_RETURN(Node * array, FindArray(action, true, tree));
  std::vector<Node>& elements = UpdateTree::Elements(array);
  int64_t size = static_cast<int64_t>(elements.size());
  int64_t place = action.position.value_or(size);
  place = std::clamp<int64_t>(place < 0 ? size + std::max(place, -size) : place, 0, size);
  std::vector<Node> added;
  for (const Value& value : action.elements) added.push_back({.value = value});
  elements.insert(elements.begin() + place, added.begin(), added.end());
  if (!action.slice) return absl::OkStatus();
  size = static_cast<int64_t>(elements.size());
  int64_t slice = std::clamp(*action.slice, -size, size);
  if (slice >= 0) {
    elements.resize(static_cast<size_t>(slice));
  } else {
    elements.erase(elements.begin(), elements.end() + slice);
  }
  return absl::OkStatus();
}

absl::Status ApplyAddToSet(const UpdateAction& action, UpdateTree* tree) {
  TERRANE_ASSIGN_OR_RETURN(Node * array, FindArray(action, true, tree));
  std::vector<Node>& elements = UpdateTree::Elements(array);
  for (const Value& value : action.elements) {
    bool there = std::any_of(elements.begin(), elements.end(),
                             [&](const Node& element) { return Equal(tree->Current(element), value); });
    if (!there) elements.push_back({.value = value});
  }
  return absl::OkStatus();
}

absl::Status ApplyPop(const UpdateAction& action, UpdateTree* tree) {
  TERRANE_ASSIGN_OR_RETURN(Node * array, FindArray(action, false, tree));
  if (array == nullptr) return absl::OkStatus();
  std::vector<Node>& elements = UpdateTree::Elements(array);
  if (!elements.empty()) elements.erase(action.from_front ? elements.begin() : elements.end() - 1);
  return absl::OkStatus();
}

absl::Status ApplyPull(const UpdateAction& action, UpdateTree* tree) {
  TERRANE_ASSIGN_OR_RETURN(Node * array, FindArray(action, false, tree));
  if (array == nullptr) return absl::OkStatus();
  std::erase_if(UpdateTree::Elements(array),
                [&](const Node& element) { return action.filter->MatchesElement(tree->Current(element)); });
  return absl::OkStatus();
}

absl::Status ApplyToField(const UpdateAction& action, int64_t wall_ms, UpdateTree* tree) {
  using Kind = UpdateAction::Kind;
  bool created = false;
  TERRANE_ASSIGN_OR_RETURN(Node * node, tree->FindOrCreate(action.path, action.op, &created));
  switch (action.kind) {
    case Kind::kInc:
    case Kind::kMul:
      return ApplyArithmetic(action, node, created, tree);
    case Kind::kMin:
    case Kind::kMax: {
      int order = created ? 0 : Compare(action.operand, tree->Current(*node));
      if (created || (action.kind == Kind::kMin ? order < 0 : order > 0)) UpdateTree::Assign(node, action.operand);
      return absl::OkStatus();
    }
    case Kind::kCurrentDate:
      tree->AssignOwned(node, Value::Date(wall_ms));
      return absl::OkStatus();
    case Kind::kCurrentTimestamp:
      tree->AssignOwned(node, Value::Timestamp(static_cast<uint32_t>(wall_ms / 1000), 1));
      return absl::OkStatus();
    default:
      UpdateTree::Assign(node, action.operand);
      return absl::OkStatus();
  }
}

}  // namespace

absl::Status ApplyAction(const UpdateAction& action, int64_t wall_ms, UpdateTree* tree) {
  using Kind = UpdateAction::Kind;
  switch (action.kind) {
    case Kind::kSet:
    case Kind::kSetOnInsert:
    case Kind::kInc:
    case Kind::kMul:
    case Kind::kMin:
    case Kind::kMax:
    case Kind::kCurrentDate:
    case Kind::kCurrentTimestamp:
      return ApplyToField(action, wall_ms, tree);
    case Kind::kUnset:
      tree->Remove(action.path);
      return absl::OkStatus();
    case Kind::kRename:
      return ApplyRename(action, tree);
    case Kind::kPush:
      return ApplyPush(action, tree);
    case Kind::kAddToSet:
      return ApplyAddToSet(action, tree);
    case Kind::kPop:
      return ApplyPop(action, tree);
    case Kind::kPull:
      return ApplyPull(action, tree);
  }
  return absl::OkStatus();
}

}  // namespace terrane::document
