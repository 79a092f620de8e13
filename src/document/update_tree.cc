#include "document/update_tree.h"

#include <algorithm>
#include <charconv>

#include "common/status.h"
#include "document/bytes.h"
#include "document/limits.h"

namespace terrane::document {
namespace {

// How far beyond its end an array can be written to.
constexpr size_t kMaxPadding = 100'000;

// Of null as the element at `index`: type, name and the NUL behind it.
size_t NullElementBytes(size_t index) {
  size_t bytes = 3;
  for (; index >= 10; index /= 10) ++bytes;
  return bytes;
}

void WriteNode(const UpdateTree::Node& node, std::string* out) {
  if (!node.is_taken_apart) {
    out->append(node.value.bytes());
    return;
  }
  size_t start = OpenDocument(out);
  for (size_t i = 0; i < node.children.size(); ++i) {
    const UpdateTree::Node& child = node.children[i];
    std::string index = UpdateTree::IsArray(node) ? std::to_string(i) : "";
    AppendElementHead(static_cast<uint8_t>(child.value.type()), UpdateTree::IsArray(node) ? index : child.name, out);
    WriteNode(child, out);
  }
  CloseDocument(start, out);
}

}  // namespace

std::vector<std::string_view> SplitPath(std::string_view path) {
  std::vector<std::string_view> components;
  for (;;) {
    size_t dot = path.find('.');
    components.push_back(path.substr(0, dot));
    if (dot == path.npos) return components;
    path.remove_prefix(dot + 1);
  }
}

std::optional<size_t> ParseIndex(std::string_view component) {
  if (component.empty() || component.size() > 9 || (component.size() > 1 && component[0] == '0')) return std::nullopt;
  size_t index = 0;
  auto [end, error] = std::from_chars(component.data(), component.data() + component.size(), index);
  if (error != std::errc() || end != component.data() + component.size()) return std::nullopt;
  return index;
}

UpdateTree::UpdateTree(std::string_view doc) : root_{.value = ValueView(Type::kDocument, doc)} {}

void UpdateTree::TakeApart(Node* node) {
  if (node->is_taken_apart) return;
  for (const Field& field : Fields(node->value.AsDocument())) {
    node->children.push_back({.name = field.name, .value = field.value});
  }
  node->is_taken_apart = true;
}

UpdateTree::Node* UpdateTree::Child(Node* parent, std::string_view name) {
  if (!parent->value.IsContainer()) return nullptr;
  TakeApart(parent);
  if (IsArray(*parent)) {
    std::optional<size_t> index = ParseIndex(name);
    return index && *index < parent->children.size() ? &parent->children[*index] : nullptr;
  }
  auto child = std::find_if(parent->children.begin(), parent->children.end(),
                            [&](const Node& node) { return node.name == name; });
  return child == parent->children.end() ? nullptr : &*child;
}

UpdateTree::Node* UpdateTree::Find(std::string_view path) {
  Node* node = &root_;
  for (std::string_view component : SplitPath(path)) {
    node = Child(node, component);
    if (node == nullptr) return nullptr;
  }
  return node;
}

absl::StatusOr<UpdateTree::Node*> UpdateTree::FindOrCreate(std::string_view path, std::string_view op, bool* created) {
  *created = false;
  Node* node = &root_;
  for (std::string_view component : SplitPath(path)) {
    // What was just made for the way is null: it becomes an object.
    if (*created) {
      node->value = ValueView(Type::kDocument, "");
      node->is_taken_apart = true;
    }
    std::string_view so_far(path.data(),
                            static_cast<size_t>(std::max<ptrdiff_t>(component.data() - path.data() - 1, 0)));
    if (!node->value.IsContainer()) {
      return InvalidArgument("cannot ", op, " field '", path, "': '", so_far, "' is of type ",
                             TypeName(node->value.type()), ", not an object");
    }
    Node* child = Child(node, component);
    if (child == nullptr && IsArray(*node)) {
      std::optional<size_t> index = ParseIndex(component);
      if (!index) {
        return InvalidArgument("cannot ", op, " field '", path, "': '", so_far, "' is an array and '", component,
                               "' no index");
      }
      if (*index > node->children.size() + kMaxPadding) {
        return InvalidArgument("cannot ", op, " field '", path, "': '", so_far, "' has only ", node->children.size(),
                               " elements");
      }
      for (size_t i = node->children.size(); i < *index; ++i) padding_bytes_ += NullElementBytes(i);
      if (padding_bytes_ > kMaxDocumentBytes) {
        return InvalidArgument("cannot ", op, " field '", path,
                               "': the elements in front of it alone make the document larger than ", kMaxDocumentBytes,
                               " bytes");
      }
      node->children.resize(*index + 1);
      child = &node->children.back();
      *created = true;
    } else if (child == nullptr) {
      child = &node->children.emplace_back(Node{.name = component});
      *created = true;
    }
    node = child;
  }
  return node;
}

void UpdateTree::Remove(std::string_view path) {
  size_t dot = path.rfind('.');
  Node* parent = dot == path.npos ? &root_ : Find(path.substr(0, dot));
  if (parent == nullptr) return;
  Node* child = Child(parent, path.substr(dot == path.npos ? 0 : dot + 1));
  if (child == nullptr) return;
  if (IsArray(*parent)) {
    Assign(child, ValueView());
  } else {
    parent->children.erase(parent->children.begin() + (child - parent->children.data()));
  }
}

bool UpdateTree::LeadsThroughArray(std::string_view path) {
  Node* node = &root_;
  for (std::string_view component : SplitPath(path)) {
    if (IsArray(*node)) return true;
    node = Child(node, component);
    if (node == nullptr) return false;
  }
  return false;
}

void UpdateTree::AssignOwned(Node* node, Value value) {
  Assign(node, kept_.emplace_back(std::move(value)).view());
}

std::vector<UpdateTree::Node>& UpdateTree::Elements(Node* array) {
  TakeApart(array);
  return array->children;
}

ValueView UpdateTree::Current(const Node& node) {
  if (!node.is_taken_apart) return node.value;
  std::string bytes;
  WriteNode(node, &bytes);
  return kept_.emplace_back(node.value.type(), std::move(bytes)).view();
}

std::string UpdateTree::Write() const {
  std::string out;
  WriteNode(root_, &out);
  return out;
}

}  // namespace terrane::document
