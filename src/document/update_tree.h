// Internal: a document that is being changed. Only what a path leads through is taken apart; everything else stays the
// bytes that it was.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "document/value.h"

namespace terrane::document {

class UpdateTree {
 public:
  struct Node {
    std::string_view name;
    ValueView value;              // not up to date once taken apart
    bool is_taken_apart = false;  // containers only
    std::vector<Node> children;   // in order; names of array elements are those of their places, set when written
  };

  // The bytes of `doc` and of everything that is put in by view must outlive the tree.
  explicit UpdateTree(std::string_view doc);

  // The node at the path, also through arrays by index; nullptr if there is none. Valid until the tree changes.
  Node* Find(std::string_view path);
  // The same, made with all that is missing on the way (a new node is null); array places up to there become null.
  // kInvalidArgument: the way leads through something that is no object and no array, or to a name inside of an array,
  // or the array places that were made so would fill more than a document.
  absl::StatusOr<Node*> FindOrCreate(std::string_view path, std::string_view op, bool* created);
  // Takes the field away; an element of an array becomes null instead. Nothing happens if there is none.
  void Remove(std::string_view path);
  // Whether the way to the path leads through an array.
  bool LeadsThroughArray(std::string_view path);

  static void Assign(Node* node, ValueView value) { *node = Node{.name = node->name, .value = value}; }
  // As above, for a value that nobody else keeps.
  void AssignOwned(Node* node, Value value);
  // The elements of an array, taken apart.
  static std::vector<Node>& Elements(Node* array);
  static bool IsArray(const Node& node) { return node.value.type() == Type::kArray; }
  // The value as it is now; bytes are kept by the tree.
  ValueView Current(const Node& node);

  std::string Write() const;

 private:
  static void TakeApart(Node* node);
  static Node* Child(Node* parent, std::string_view name);

  std::deque<Value> kept_;
  size_t padding_bytes_ = 0;  // of the array places that became null, once written
  Node root_;
};

// The components of a dotted path.
std::vector<std::string_view> SplitPath(std::string_view path);
// The number that an array index is written as; nullopt for everything else ("01", "x", "-1").
std::optional<size_t> ParseIndex(std::string_view component);

}  // namespace terrane::document
