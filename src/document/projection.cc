#include "document/projection.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "common/status.h"
#include "document/bytes.h"
#include "document/validate.h"
#include "document/value.h"

namespace terrane::document {

// A component of the projected paths. A node without children is the end of a path.
struct ProjectionNode {
  std::string name;
  std::vector<ProjectionNode> children;

  const ProjectionNode* Child(std::string_view wanted) const {
    auto child = std::find_if(children.begin(), children.end(), [&](const auto& node) { return node.name == wanted; });
    return child == children.end() ? nullptr : &*child;
  }
};

namespace {

absl::Status AddPath(std::string_view path, ProjectionNode* root) {
  ProjectionNode* node = root;
  bool is_new = false;
  for (size_t start = 0; start <= path.size();) {
    size_t dot = std::min(path.find('.', start), path.size());
    std::string_view component = path.substr(start, dot - start);
    if (component.empty()) return InvalidArgument("projection path '", path, "' has an empty component");
    if (component[0] == '$') return InvalidArgument("projection: '", component, "' in '", path, "' is not supported");
    if (node != root && node->children.empty() && !is_new) {
      return InvalidArgument("projection path '", path, "' lies in another one");
    }
    ProjectionNode* child = const_cast<ProjectionNode*>(node->Child(component));
    is_new = child == nullptr;
    if (is_new) child = &node->children.emplace_back(ProjectionNode{.name = std::string(component), .children = {}});
    node = child;
    start = dot + 1;
  }
  if (!is_new) return InvalidArgument("projection path '", path, "' is there twice or holds another one");
  return absl::OkStatus();
}

absl::StatusOr<bool> ParseFlag(const Field& field) {
  if (field.value.type() == Type::kBool) return field.value.AsBool();
  if (field.value.IsNumber()) return !Equal(field.value, Value::Int32(0));
  if (field.value.type() == Type::kDocument) {
    auto first = Fields(field.value.AsDocument()).begin();
    if (first != std::default_sentinel) {
      return InvalidArgument("projection of field '", field.name, "': ", first->name, " is not supported");
    }
  }
  return InvalidArgument("projection of field '", field.name, "' needs 1 or 0, not a value of type ",
                         TypeName(field.value.type()));
}

void ApplyToDocument(const ProjectionNode& node, bool inclusive, std::string_view bson, std::string* out);

// Arrays are looked through; of what is no document an inclusion keeps nothing, an exclusion everything.
void ApplyToArray(const ProjectionNode& node, bool inclusive, std::string_view bson, std::string* out) {
  size_t start = OpenDocument(out);
  size_t index = 0;
  for (const Field& field : Fields(bson)) {
    if (!field.value.IsContainer() && inclusive) continue;
    AppendElementHead(static_cast<uint8_t>(field.value.type()), std::to_string(index++), out);
    if (field.value.type() == Type::kDocument) {
      ApplyToDocument(node, inclusive, field.value.AsDocument(), out);
    } else if (field.value.type() == Type::kArray) {
      ApplyToArray(node, inclusive, field.value.AsDocument(), out);
    } else {
      out->append(field.value.bytes());
    }
  }
  CloseDocument(start, out);
}

void ApplyToDocument(const ProjectionNode& node, bool inclusive, std::string_view bson, std::string* out) {
  size_t start = OpenDocument(out);
  for (const Field& field : Fields(bson)) {
    const ProjectionNode* child = node.Child(field.name);
    bool whole = child == nullptr ? !inclusive : child->children.empty() && inclusive;
    bool inside = child != nullptr && !child->children.empty();
    if (inside && field.value.IsContainer()) {
      AppendElementHead(static_cast<uint8_t>(field.value.type()), field.name, out);
      if (field.value.type() == Type::kDocument) {
        ApplyToDocument(*child, inclusive, field.value.AsDocument(), out);
      } else {
        ApplyToArray(*child, inclusive, field.value.AsDocument(), out);
      }
    } else if (whole || (inside && !inclusive)) {
      out->append(field.element);
    }
  }
  CloseDocument(start, out);
}

}  // namespace

absl::StatusOr<Projection> Projection::Parse(std::string_view bson) {
  TERRANE_RETURN_IF_ERROR(Annotate(ValidateStructure(bson), "projection"));
  auto root = std::make_shared<ProjectionNode>();
  std::optional<bool> inclusive;
  std::optional<bool> keep_id;
  for (const Field& field : Fields(bson)) {
    TERRANE_ASSIGN_OR_RETURN(bool keep, ParseFlag(field));
    if (field.name == "_id") {
      if (keep_id) return InvalidArgument("projection path '_id' is there twice");
      keep_id = keep;
      continue;
    }
    if (inclusive.value_or(keep) != keep) {
      return InvalidArgument("projection of field '", field.name, "': fields to keep and to leave out cannot be mixed");
    }
    inclusive = keep;
    TERRANE_RETURN_IF_ERROR(AddPath(field.name, root.get()));
  }
  Projection projection;
  if (!inclusive && !keep_id) return projection;
  projection.inclusive_ = inclusive ? *inclusive : *keep_id;
  // The tree names what is kept (inclusive) or left out; `_id` is kept unless it says otherwise.
  if (keep_id.value_or(true) == projection.inclusive_) {
    if (root->Child("_id") != nullptr) return InvalidArgument("projection paths '_id' and inside of it collide");
    root->children.push_back({.name = "_id", .children = {}});
  }
  projection.root_ = std::move(root);
  return projection;
}

std::string Projection::Apply(std::string_view doc) const {
  if (keeps_everything()) return std::string(doc);
  std::string out;
  ApplyToDocument(*root_, inclusive_, doc, &out);
  return out;
}

}  // namespace terrane::document
