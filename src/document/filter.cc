#include "document/filter.h"

#include <algorithm>
#include <cmath>

#include "common/status.h"
#include "document/filter_node.h"
#include "document/validate.h"

namespace terrane::document {
namespace {

using Kind = FilterNode::Kind;
using Node = std::unique_ptr<FilterNode>;

Node MakeNode(Kind kind, std::string_view path = "") {
  auto node = std::make_unique<FilterNode>();
  node->kind = kind;
  node->path = std::string(path);
  return node;
}

Node MakeNode(Kind kind, std::string_view path, ValueView operand) {
  Node node = MakeNode(kind, path);
  node->values.emplace_back(operand);
  return node;
}

Node Negate(Node child) {
  Node node = MakeNode(Kind::kNor, child->path);
  node->children.push_back(std::move(child));
  return node;
}

template <typename... Args>
absl::Status Wrong(std::string_view path, std::string_view op, Args&&... args) {
  return InvalidArgument("filter operator ", op, " of field '", path, "' ", std::forward<Args>(args)...);
}

std::string TypeOf(ValueView value) {
  return StrCat("it is of type ", TypeName(value.type()));
}

absl::StatusOr<Node> ParseIn(std::string_view path, std::string_view op, ValueView operand) {
  if (operand.type() != Type::kArray) return Wrong(path, op, "needs an array: ", TypeOf(operand));
  Node node = MakeNode(Kind::kIn, path);
  for (const Field& field : Fields(operand.AsDocument())) {
    if (field.value.type() == Type::kRegex) {
      TERRANE_ASSIGN_OR_RETURN(Node regex, MakeRegexNode(path, field.value.RegexPattern(), field.value.RegexOptions()));
      node->children.push_back(std::move(regex));
    } else if (HoldsOperators(field.value)) {
      return Wrong(path, op, "cannot hold operators");
    } else {
      node->values.emplace_back(field.value);
    }
  }
  return node;
}

absl::Status AddType(std::string_view path, ValueView operand, FilterNode* node) {
  static constexpr Type kTypes[] = {
      Type::kDouble,     Type::kString, Type::kDocument, Type::kArray,     Type::kBinary,        Type::kUndefined,
      Type::kObjectId,   Type::kBool,   Type::kDate,     Type::kNull,      Type::kRegex,         Type::kDbPointer,
      Type::kCode,       Type::kSymbol, Type::kInt32,    Type::kTimestamp, Type::kCodeWithScope, Type::kInt64,
      Type::kDecimal128, Type::kMinKey, Type::kMaxKey};
  if (operand.type() == Type::kString && operand.AsString() == "number") {
    node->any_number = true;
    return absl::OkStatus();
  }
  for (Type type : kTypes) {
    int64_t code = type == Type::kMinKey ? -1 : static_cast<int64_t>(type);
    bool named = operand.type() == Type::kString && operand.AsString() == TypeName(type);
    if (named || operand.ToInt64() == code) {
      node->types.push_back(type);
      return absl::OkStatus();
    }
  }
  if (operand.type() == Type::kString) return Wrong(path, "$type", "knows no type '", operand.AsString(), "'");
  if (operand.ToInt64()) return Wrong(path, "$type", "knows no type ", *operand.ToInt64());
  return Wrong(path, "$type", "needs names or numbers of types: ", TypeOf(operand));
}

absl::StatusOr<Node> ParseType(std::string_view path, ValueView operand) {
  Node node = MakeNode(Kind::kType, path);
  if (operand.type() != Type::kArray) {
    TERRANE_RETURN_IF_ERROR(AddType(path, operand, node.get()));
    return node;
  }
  for (const Field& field : Fields(operand.AsDocument())) {
    TERRANE_RETURN_IF_ERROR(AddType(path, field.value, node.get()));
  }
  if (node->types.empty() && !node->any_number) return Wrong(path, "$type", "needs at least one type");
  return node;
}

absl::StatusOr<Node> ParseRegex(std::string_view path, ValueView operand, std::optional<ValueView> options) {
  if (options && options->type() != Type::kString) return Wrong(path, "$options", "needs a string");
  std::string_view flags = options ? options->AsString() : "";
  std::string_view pattern;
  if (operand.type() == Type::kRegex) {
    pattern = operand.RegexPattern();
    if (!options) flags = operand.RegexOptions();
    if (options && !operand.RegexOptions().empty()) return Wrong(path, "$options", "is given twice");
  } else if (operand.type() == Type::kString) {
    pattern = operand.AsString();
  } else {
    return Wrong(path, "$regex", "needs a string or a regular expression: ", TypeOf(operand));
  }
  if (pattern.find('\0') != pattern.npos || flags.find('\0') != flags.npos) {
    return Wrong(path, "$regex", "must not hold NUL");
  }
  return MakeRegexNode(path, pattern, flags);
}

absl::StatusOr<Node> ParseSize(std::string_view path, ValueView operand) {
  std::optional<int64_t> size = operand.ToInt64();
  if (!size || *size < 0) return Wrong(path, "$size", "needs a whole number that is not negative");
  Node node = MakeNode(Kind::kSize, path);
  node->number = *size;
  return node;
}

absl::StatusOr<Node> ParseExists(std::string_view path, ValueView operand) {
  static const Value kZero = Value::Int32(0);
  bool no = operand.type() == Type::kBool
                ? !operand.AsBool()
                : operand.type() == Type::kNull || operand.type() == Type::kUndefined || Equal(operand, kZero);
  Node node = MakeNode(Kind::kExists, path);
  node->number = no ? 0 : 1;
  return node;
}

absl::StatusOr<Node> ParseMod(std::string_view path, ValueView operand) {
  std::vector<int64_t> numbers;
  if (operand.type() == Type::kArray) {
    for (const Field& field : Fields(operand.AsDocument())) {
      std::optional<int64_t> number = field.value.ToInt64();
      if (!number) return Wrong(path, "$mod", "needs whole numbers");
      numbers.push_back(*number);
    }
  }
  if (numbers.size() != 2) return Wrong(path, "$mod", "needs an array of divisor and remainder");
  if (numbers[0] == 0) return Wrong(path, "$mod", "has the divisor 0");
  Node node = MakeNode(Kind::kMod, path);
  node->divisor = numbers[0];
  node->number = numbers[1];
  return node;
}

absl::StatusOr<Node> ParseElemMatch(std::string_view path, ValueView operand) {
  if (operand.type() != Type::kDocument) return Wrong(path, "$elemMatch", "needs an object: ", TypeOf(operand));
  auto first = Fields(operand.AsDocument()).begin();
  bool logical =
      first != std::default_sentinel && (first->name == "$and" || first->name == "$or" || first->name == "$nor");
  bool by_value = HoldsOperators(operand) && !logical;
  Node node = MakeNode(by_value ? Kind::kElementMatches : Kind::kDocumentMatches, path);
  absl::StatusOr<Node> child =
      by_value ? ParseFieldOperators(path, operand.AsDocument()) : ParseFilterDocument(operand.AsDocument());
  if (!child.ok()) return child.status();
  node->children.push_back(*std::move(child));
  return node;
}

absl::StatusOr<Node> ParseAll(std::string_view path, ValueView operand) {
  if (operand.type() != Type::kArray) return Wrong(path, "$all", "needs an array: ", TypeOf(operand));
  Node all = MakeNode(Kind::kAnd, path);
  for (const Field& field : Fields(operand.AsDocument())) {
    absl::StatusOr<Node> child = MakeNode(Kind::kEqual, path, field.value);
    if (field.value.type() == Type::kRegex) {
      child = MakeRegexNode(path, field.value.RegexPattern(), field.value.RegexOptions());
    } else if (HoldsOperators(field.value)) {
      Fields operators(field.value.AsDocument());
      auto op = operators.begin();
      if (op->name != "$elemMatch" || ++operators.begin() != operators.end()) {
        return Wrong(path, "$all", "can hold values and $elemMatch only");
      }
      child = ParseElemMatch(path, op->value);
    }
    if (!child.ok()) return child.status();
    all->children.push_back(*std::move(child));
  }
  if (all->children.empty()) return MakeNode(Kind::kNothing, path);
  return all;
}

absl::StatusOr<Node> ParseNot(std::string_view path, ValueView operand) {
  if (operand.type() == Type::kRegex) {
    TERRANE_ASSIGN_OR_RETURN(Node regex, ParseRegex(path, operand, std::nullopt));
    return Negate(std::move(regex));
  }
  if (!HoldsOperators(operand)) return Wrong(path, "$not", "needs operators or a regular expression");
  TERRANE_ASSIGN_OR_RETURN(Node child, ParseFieldOperators(path, operand.AsDocument()));
  return Negate(std::move(child));
}

absl::StatusOr<Node> ParseComparison(std::string_view path, std::string_view op, Kind kind, ValueView operand) {
  if (operand.type() == Type::kRegex && kind != Kind::kEqual) {
    return Wrong(path, op, "cannot take a regular expression");
  }
  return MakeNode(kind, path, operand);
}

// One operator of a field. `all` are its companions ($options belongs to $regex).
absl::StatusOr<Node> ParseOperator(std::string_view path, const Field& field, std::string_view all) {
  std::string_view op = field.name;
  ValueView operand = field.value;
  if (op == "$eq") return ParseComparison(path, op, Kind::kEqual, operand);
  if (op == "$gt") return ParseComparison(path, op, Kind::kGreater, operand);
  if (op == "$gte") return ParseComparison(path, op, Kind::kGreaterOrEqual, operand);
  if (op == "$lt") return ParseComparison(path, op, Kind::kLess, operand);
  if (op == "$lte") return ParseComparison(path, op, Kind::kLessOrEqual, operand);
  if (op == "$ne") {
    if (operand.type() == Type::kRegex) return Wrong(path, op, "cannot take a regular expression");
    return Negate(MakeNode(Kind::kEqual, path, operand));
  }
  if (op == "$in") return ParseIn(path, op, operand);
  if (op == "$nin") {
    TERRANE_ASSIGN_OR_RETURN(Node in, ParseIn(path, op, operand));
    return Negate(std::move(in));
  }
  if (op == "$exists") return ParseExists(path, operand);
  if (op == "$type") return ParseType(path, operand);
  if (op == "$regex") return ParseRegex(path, operand, FindDirect(all, "$options"));
  if (op == "$not") return ParseNot(path, operand);
  if (op == "$size") return ParseSize(path, operand);
  if (op == "$all") return ParseAll(path, operand);
  if (op == "$elemMatch") return ParseElemMatch(path, operand);
  if (op == "$mod") return ParseMod(path, operand);
  if (!op.empty() && op[0] == '$')
    return InvalidArgument("filter operator ", op, " is not supported (field '", path, "')");
  return InvalidArgument("field '", path, "': '", op, "' stands among filter operators but is none");
}

absl::StatusOr<Node> ParseLogical(const Field& field) {
  Kind kind = field.name == "$and" ? Kind::kAnd : field.name == "$or" ? Kind::kOr : Kind::kNor;
  Node node = MakeNode(kind);
  if (field.value.type() != Type::kArray) return InvalidArgument("filter operator ", field.name, " needs an array");
  for (const Field& element : Fields(field.value.AsDocument())) {
    if (element.value.type() != Type::kDocument) {
      return InvalidArgument("filter operator ", field.name, " needs an array of filters: element ", element.name,
                             " is of type ", TypeName(element.value.type()));
    }
    TERRANE_ASSIGN_OR_RETURN(Node child, ParseFilterDocument(element.value.AsDocument()));
    node->children.push_back(std::move(child));
  }
  if (node->children.empty()) return InvalidArgument("filter operator ", field.name, " needs at least one filter");
  return node;
}

absl::StatusOr<Node> ParseField(const Field& field) {
  if (!field.name.empty() && field.name[0] == '$') {
    if (field.name == "$and" || field.name == "$or" || field.name == "$nor") return ParseLogical(field);
    return InvalidArgument("filter operator ", field.name, " is not supported");
  }
  if (field.value.type() == Type::kRegex) return ParseRegex(field.name, field.value, std::nullopt);
  if (HoldsOperators(field.value)) return ParseFieldOperators(field.name, field.value.AsDocument());
  return MakeNode(Kind::kEqual, field.name, field.value);
}

// The conditions that stand in `node` unconditionally.
void Collect(const FilterNode& node, std::vector<FieldCondition>* out) {
  using Op = FieldCondition::Op;
  auto add = [&](Op op) { out->push_back({.path = node.path, .op = op, .values = node.values}); };
  switch (node.kind) {
    case Kind::kAnd:
      for (const Node& child : node.children) Collect(*child, out);
      return;
    case Kind::kOr:
      if (node.children.size() == 1) Collect(*node.children[0], out);
      return;
    case Kind::kEqual:
      return add(Op::kEqual);
    case Kind::kGreater:
      return add(Op::kGreater);
    case Kind::kGreaterOrEqual:
      return add(Op::kGreaterOrEqual);
    case Kind::kLess:
      return add(Op::kLess);
    case Kind::kLessOrEqual:
      return add(Op::kLessOrEqual);
    case Kind::kIn:
      if (node.children.empty()) add(Op::kIn);
      return;
    default:
      return;
  }
}

}  // namespace

bool HoldsOperators(ValueView value) {
  if (value.type() != Type::kDocument) return false;
  auto first = Fields(value.AsDocument()).begin();
  if (first == std::default_sentinel || first->name.empty() || first->name[0] != '$') return false;
  return first->name != "$ref" && first->name != "$id" && first->name != "$db";
}

absl::StatusOr<std::unique_ptr<FilterNode>> ParseFieldOperators(std::string_view path, std::string_view bson) {
  Node all = MakeNode(Kind::kAnd, path);
  for (const Field& field : Fields(bson)) {
    if (field.name == "$options") {
      if (!FindDirect(bson, "$regex")) return Wrong(path, "$options", "needs a $regex");
      continue;
    }
    TERRANE_ASSIGN_OR_RETURN(Node child, ParseOperator(path, field, bson));
    all->children.push_back(std::move(child));
  }
  return all;
}

absl::StatusOr<std::unique_ptr<FilterNode>> ParseFilterDocument(std::string_view bson) {
  Node all = MakeNode(Kind::kAnd);
  for (const Field& field : Fields(bson)) {
    TERRANE_ASSIGN_OR_RETURN(Node child, ParseField(field));
    all->children.push_back(std::move(child));
  }
  return all;
}

Filter::Filter() : root_(MakeNode(Kind::kAnd)), conditions_(std::make_shared<const std::vector<FieldCondition>>()) {}

absl::StatusOr<Filter> Filter::Parse(std::string_view bson) {
  TERRANE_RETURN_IF_ERROR(Annotate(ValidateStructure(bson), "filter"));
  TERRANE_ASSIGN_OR_RETURN(Node root, ParseFilterDocument(bson));
  auto conditions = std::make_shared<std::vector<FieldCondition>>();
  Collect(*root, conditions.get());
  Filter filter;
  filter.root_ = std::move(root);
  filter.conditions_ = std::move(conditions);
  return filter;
}

bool Filter::Matches(std::string_view doc) const {
  return MatchesDocument(*root_, doc);
}

absl::StatusOr<Filter> Filter::ParseForElements(ValueView conditions) {
  absl::StatusOr<Node> node = MakeNode(Kind::kEqual, "", conditions);
  if (conditions.type() == Type::kRegex) {
    node = ParseRegex("", conditions, std::nullopt);
  } else if (HoldsOperators(conditions)) {
    Fields operators(conditions.AsDocument());
    std::string_view first = operators.begin()->name;
    bool logical = first == "$and" || first == "$or" || first == "$nor";
    node = logical ? ParseFilterDocument(conditions.AsDocument()) : ParseFieldOperators("", conditions.AsDocument());
    if (logical && node.ok()) {
      Node wrapped = MakeNode(Kind::kDocumentMatches);
      wrapped->children.push_back(*std::move(node));
      node = std::move(wrapped);
    }
  } else if (conditions.type() == Type::kDocument) {
    absl::StatusOr<Node> child = ParseFilterDocument(conditions.AsDocument());
    if (!child.ok()) return child.status();
    node = MakeNode(Kind::kDocumentMatches);
    (*node)->children.push_back(*std::move(child));
  }
  if (!node.ok()) return node.status();
  Filter filter;
  filter.root_ = *std::move(node);
  return filter;
}

bool Filter::MatchesElement(ValueView element) const {
  if (root_->kind == Kind::kDocumentMatches) {
    return element.type() == Type::kDocument && MatchesDocument(*root_->children[0], element.AsDocument());
  }
  // A plain value is that element; operators see it as the value of a field.
  return root_->kind == Kind::kEqual ? MatchesValue(*root_, element) : MatchesField(*root_, element);
}

std::optional<ValueView> Filter::PinnedValue(std::string_view path) const {
  for (const FieldCondition& condition : *conditions_) {
    bool pins = condition.op == FieldCondition::Op::kEqual ||
                (condition.op == FieldCondition::Op::kIn && condition.values.size() == 1);
    if (!pins || condition.path != path) continue;
    Type type = condition.values[0].type();
    if (type != Type::kArray && type != Type::kNull && type != Type::kUndefined && type != Type::kRegex) {
      return condition.values[0].view();
    }
  }
  return std::nullopt;
}

}  // namespace terrane::document
