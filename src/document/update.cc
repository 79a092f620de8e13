#include "document/update.h"

#include <algorithm>

#include "common/status.h"
#include "document/builder.h"
#include "document/limits.h"
#include "document/update_plan.h"
#include "document/validate.h"

namespace terrane::document {
namespace {

using Kind = UpdateAction::Kind;

constexpr std::pair<std::string_view, Kind> kOperators[] = {
    {"$set", Kind::kSet},
    {"$setOnInsert", Kind::kSetOnInsert},
    {"$unset", Kind::kUnset},
    {"$inc", Kind::kInc},
    {"$mul", Kind::kMul},
    {"$min", Kind::kMin},
    {"$max", Kind::kMax},
    {"$rename", Kind::kRename},
    {"$push", Kind::kPush},
    {"$addToSet", Kind::kAddToSet},
    {"$pop", Kind::kPop},
    {"$pull", Kind::kPull},
    {"$currentDate", Kind::kCurrentDate},
};

absl::Status CheckPath(std::string_view op, std::string_view path) {
  std::vector<std::string_view> components = SplitPath(path);
  if (components.size() > kMaxNesting) return InvalidArgument(op, ": path is deeper than ", kMaxNesting, " levels");
  for (std::string_view component : components) {
    if (component.empty()) return InvalidArgument(op, ": path '", path, "' has an empty component");
    if (component[0] == '$') {
      return InvalidArgument(op, ": '", component, "' in path '", path, "' is not supported");
    }
  }
  return absl::OkStatus();
}

// By components; numbers by value and before names.
bool PathLess(std::string_view a, std::string_view b) {
  std::vector<std::string_view> left = SplitPath(a), right = SplitPath(b);
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [](std::string_view x, std::string_view y) {
                                        std::optional<size_t> i = ParseIndex(x), j = ParseIndex(y);
                                        if (i && j) return *i < *j;
                                        if (i || j) return i.has_value();
                                        return x < y;
                                      });
}

absl::Status CheckConflicts(std::vector<std::string> paths) {
  std::sort(paths.begin(), paths.end(), PathLess);
  // What lies in a path follows it directly in this order.
  for (size_t i = 1; i < paths.size(); ++i) {
    const std::string &outer = paths[i - 1], &inner = paths[i];
    if (inner == outer || inner.starts_with(outer + ".")) {
      return InvalidArgument("updating the path '", inner, "' would create a conflict at '", outer, "'");
    }
  }
  return absl::OkStatus();
}

// The value, or the elements of {$each: [..]} with its companions, which only $push has.
absl::Status ParseElements(ValueView operand, UpdateAction* action) {
  bool has_each = operand.type() == Type::kDocument && FindDirect(operand.AsDocument(), "$each").has_value();
  if (!has_each) {
    action->elements.emplace_back(operand);
    return absl::OkStatus();
  }
  for (const Field& field : Fields(operand.AsDocument())) {
    bool push = action->kind == Kind::kPush;
    if (field.name == "$each") {
      if (field.value.type() != Type::kArray) {
        return InvalidArgument(action->op, " of field '", action->path, "': $each needs an array");
      }
      for (const Field& element : Fields(field.value.AsDocument())) action->elements.emplace_back(element.value);
    } else if (push && (field.name == "$position" || field.name == "$slice")) {
      std::optional<int64_t> number = field.value.ToInt64();
      if (!number) return InvalidArgument("$push of field '", action->path, "': ", field.name, " needs a whole number");
      (field.name == "$slice" ? action->slice : action->position) = number;
    } else {
      return InvalidArgument(action->op, " of field '", action->path, "': ", field.name, " is not supported");
    }
  }
  return absl::OkStatus();
}

absl::Status ParseCurrentDate(ValueView operand, UpdateAction* action) {
  if (operand.type() == Type::kBool) return absl::OkStatus();
  std::optional<ValueView> type;
  if (operand.type() == Type::kDocument) type = FindDirect(operand.AsDocument(), "$type");
  if (type && type->type() == Type::kString) {
    if (type->AsString() == "date") return absl::OkStatus();
    if (type->AsString() == "timestamp") {
      action->kind = Kind::kCurrentTimestamp;
      return absl::OkStatus();
    }
  }
  return InvalidArgument("$currentDate of field '", action->path,
                         "' needs true, {$type: \"date\"} or {$type: \"timestamp\"}");
}

// What the operator needs of its operand.
absl::Status ParseOperand(ValueView operand, UpdateAction* action) {
  switch (action->kind) {
    case Kind::kInc:
    case Kind::kMul:
      if (operand.IsNumber()) break;
      return InvalidArgument("cannot ", action->op, " field '", action->path, "' with a value of type ",
                             TypeName(operand.type()));
    case Kind::kRename:
      if (operand.type() != Type::kString) {
        return InvalidArgument("$rename of field '", action->path, "' needs the new name as a string");
      }
      action->source = action->path;
      action->path = std::string(operand.AsString());
      if (action->path.find('\0') != action->path.npos) return InvalidArgument("$rename: the new name holds NUL");
      return CheckPath(action->op, action->path);
    case Kind::kPush:
    case Kind::kAddToSet:
      return ParseElements(operand, action);
    case Kind::kPop: {
      std::optional<int64_t> end = operand.ToInt64();
      if (end != 1 && end != -1) return InvalidArgument("$pop of field '", action->path, "' needs 1 or -1");
      action->from_front = end == -1;
      break;
    }
    case Kind::kPull: {
      absl::StatusOr<Filter> filter = Filter::ParseForElements(operand);
      if (!filter.ok()) return Annotate(filter.status(), StrCat("$pull of field '", action->path, "'"));
      action->filter = *std::move(filter);
      break;
    }
    case Kind::kCurrentDate:
    case Kind::kCurrentTimestamp:
      return ParseCurrentDate(operand, action);
    case Kind::kSet:
    case Kind::kSetOnInsert:
    case Kind::kUnset:
    case Kind::kMin:
    case Kind::kMax:
      break;
  }
  return absl::OkStatus();
}

absl::Status ParseOperator(const Field& op, UpdatePlan* plan) {
  auto known = std::find_if(std::begin(kOperators), std::end(kOperators),
                            [&](const auto& entry) { return entry.first == op.name; });
  if (known == std::end(kOperators)) {
    if (op.name.starts_with("$")) return InvalidArgument("update operator ", op.name, " is not supported");
    return InvalidArgument("field '", op.name, "' stands among update operators; use $set for it");
  }
  if (op.value.type() != Type::kDocument) {
    return InvalidArgument(op.name, " needs an object, not a value of type ", TypeName(op.value.type()));
  }
  for (const Field& field : Fields(op.value.AsDocument())) {
    TERRANE_RETURN_IF_ERROR(CheckPath(op.name, field.name));
    UpdateAction action{.kind = known->second,
                        .op = std::string(op.name),
                        .path = std::string(field.name),
                        .operand = Value(field.value)};
    TERRANE_RETURN_IF_ERROR(ParseOperand(field.value, &action));
    plan->paths.push_back(action.path);
    if (!action.source.empty()) plan->paths.push_back(action.source);
    plan->actions.push_back(std::move(action));
  }
  return absl::OkStatus();
}

absl::Status CheckId(std::optional<ValueView> old_id, std::string_view doc) {
  if (!old_id) return absl::OkStatus();
  std::optional<ValueView> id = FindDirect(doc, "_id");
  if (id && Equal(*old_id, *id)) return absl::OkStatus();
  return InvalidArgument("the update would change the field '_id', which is immutable");
}

// The replacement with the old `_id` in front.
std::string Replace(const UpdatePlan& plan, std::optional<ValueView> old_id) {
  if (!old_id) return plan.replacement;
  Builder out;
  out.Append("_id", *old_id);
  for (const Field& field : Fields(plan.replacement)) {
    if (field.name != "_id") out.AppendElement(field.element);
  }
  return out.Finish();
}

absl::StatusOr<std::string> Run(const UpdatePlan& plan, std::string_view old_doc, bool insert, int64_t wall_ms) {
  std::optional<ValueView> old_id = FindDirect(old_doc, "_id");
  std::string result;
  if (plan.is_replacement) {
    if (FindDirect(plan.replacement, "_id")) TERRANE_RETURN_IF_ERROR(CheckId(old_id, plan.replacement));
    result = Replace(plan, old_id);
  } else {
    UpdateTree tree(old_doc);
    for (const UpdateAction& action : plan.actions) {
      if (action.kind == Kind::kSetOnInsert && !insert) continue;
      TERRANE_RETURN_IF_ERROR(ApplyAction(action, wall_ms, &tree));
    }
    result = tree.Write();
    TERRANE_RETURN_IF_ERROR(CheckId(old_id, result));
  }
  TERRANE_RETURN_IF_ERROR(Annotate(ValidateDocument(result), "after the update"));
  return result;
}

std::string MoveIdToFront(const std::string& doc) {
  std::optional<ValueView> id = FindDirect(doc, "_id");
  if (!id) return doc;
  Builder out;
  out.Append("_id", *id);
  for (const Field& field : Fields(doc)) {
    if (field.name != "_id") out.AppendElement(field.element);
  }
  return out.Finish();
}

// The values that the filter pins by equality; of a replacement's filter that of `_id` only.
absl::StatusOr<std::string> SeedFromFilter(const Filter& filter, bool only_id) {
  const std::string empty = Builder().Finish();
  UpdateTree tree(empty);
  std::vector<std::string> paths;
  for (const FieldCondition& condition : filter.conditions()) {
    using Op = FieldCondition::Op;
    bool pins = condition.op == Op::kEqual || (condition.op == Op::kIn && condition.values.size() == 1);
    if (!pins) continue;
    if (only_id && condition.path.starts_with("_id.")) {
      return InvalidArgument("upsert: the filter names '", condition.path, "', but must name '_id' as a whole");
    }
    if (only_id && condition.path != "_id") continue;
    TERRANE_RETURN_IF_ERROR(CheckPath("upsert", condition.path));
    paths.push_back(condition.path);
  }
  TERRANE_RETURN_IF_ERROR(Annotate(CheckConflicts(paths), "upsert: the filter pins one field twice"));
  for (const FieldCondition& condition : filter.conditions()) {
    if (std::find(paths.begin(), paths.end(), condition.path) == paths.end()) continue;
    if (condition.op != FieldCondition::Op::kEqual && condition.op != FieldCondition::Op::kIn) continue;
    if (condition.values.size() != 1) continue;
    bool created = false;
    TERRANE_ASSIGN_OR_RETURN(UpdateTree::Node * node, tree.FindOrCreate(condition.path, "upsert", &created));
    UpdateTree::Assign(node, condition.values[0]);
  }
  return tree.Write();
}

}  // namespace

absl::StatusOr<Update> Update::Parse(std::string_view bson) {
  TERRANE_RETURN_IF_ERROR(Annotate(ValidateStructure(bson), "update"));
  auto plan = std::make_shared<UpdatePlan>();
  auto first = Fields(bson).begin();
  plan->is_replacement = first == std::default_sentinel || !first->name.starts_with("$");
  for (const Field& field : Fields(bson)) {
    if (!plan->is_replacement) {
      TERRANE_RETURN_IF_ERROR(ParseOperator(field, plan.get()));
    } else if (field.name.starts_with("$")) {
      return InvalidArgument("update operator ", field.name, " stands among the fields of a replacement document");
    }
  }
  if (plan->is_replacement) {
    TERRANE_RETURN_IF_ERROR(Annotate(ValidateDocument(bson), "replacement document"));
    plan->replacement = std::string(bson);
  }
  TERRANE_RETURN_IF_ERROR(CheckConflicts(plan->paths));
  std::stable_sort(plan->actions.begin(), plan->actions.end(),
                   [](const UpdateAction& a, const UpdateAction& b) { return PathLess(a.path, b.path); });
  Update update;
  update.plan_ = std::move(plan);
  return update;
}

bool Update::is_replacement() const {
  return plan_->is_replacement;
}
const std::vector<std::string>& Update::paths() const {
  return plan_->paths;
}

absl::StatusOr<std::string> Update::Apply(std::string_view old_doc, int64_t wall_ms) const {
  return Run(*plan_, old_doc, /*insert=*/false, wall_ms);
}

absl::StatusOr<std::string> Update::ApplyAsUpsert(const Filter& filter, int64_t wall_ms) const {
  TERRANE_ASSIGN_OR_RETURN(std::string seed, SeedFromFilter(filter, plan_->is_replacement));
  TERRANE_ASSIGN_OR_RETURN(std::string result, Run(*plan_, seed, /*insert=*/true, wall_ms));
  return MoveIdToFront(result);
}

}  // namespace terrane::document
