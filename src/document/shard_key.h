// Where a document lives: its encoded shard key, and which keys a filter may be about.
//
//   encoded shard key := the encodings (key_encoding.h) of the key's fields, one after the other; a hashed field is 8
//   bytes
//                        instead, big endian: XXH3-64 of the value's encoding (so 7 and 7.0 go to the same place)
//
// The order of the encodings is the order of the chunks. No encoded key is a prefix of another one of the same pattern.
// Two values of a hashed field whose hashes collide share an encoded key and so are told apart by `_id` only.
// Immutable after Parse; pure, thread-safe, never blocks.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/key_range.h"
#include "document/filter.h"
#include "document/value.h"

namespace terrane::document {

// What has to be asked to find everything that a filter may match.
struct Targets {
  // Set if the filter allows one shard key only. `ranges` then holds the range of just this key.
  std::optional<std::string> shard_key;
  // The encoded `_id` if the filter pins it.
  std::optional<std::string> id;
  // Encoded shard keys, ascending, disjoint; together they contain the key of every matching document. Empty if nothing
  // can match; one range from "" to +infinity if the filter says nothing about the shard key.
  std::vector<KeyRange> ranges;
};

class ShardKeyPattern {
 public:
  // {_id: "hashed"}
  ShardKeyPattern();

  // `spec` is BSON like {customer: 1}, {customer: "hashed"}, {customer: "hashed", order: 1}, {"address.zip": 1, _id:
  // 1}. kInvalidArgument: no field, more than 16, a value that is neither 1 nor "hashed", "hashed" not first, an empty
  // path component or one that begins with $, a path twice or inside of another one.
  static absl::StatusOr<ShardKeyPattern> Parse(std::string_view spec);

  // The spec again, as BSON and for people ({"customer": "hashed"}).
  const std::string& spec() const { return spec_; }
  std::string ToString() const;

  bool hashed() const { return hashed_; }
  const std::vector<std::string>& paths() const { return paths_; }
  // Whether a change of the field at `path`, of one that it lies in or of one inside of it, can change the shard key.
  bool DependsOn(std::string_view path) const;

  // kInvalidArgument, naming the field: it is missing, an array, lies inside of an array, or is a regular expression or
  // undefined. Says nothing about `_id`.
  absl::StatusOr<std::string> EncodeFromDocument(std::string_view doc) const;

  // A bound of a chunk as people write it: the key's fields in order, the last ones may be missing (the least key that
  // begins so). A hashed field is given as {$hash: "8000000000000000"}, or as a value, which is then hashed.
  // kInvalidArgument, naming the field that is wrong.
  absl::StatusOr<std::string> EncodeBound(std::string_view bound) const;

  // The encoded key or bound for people, in the form that EncodeBound reads: {"customer": {"$hash":
  // "8000000000000000"}}.
  // "{}" for the least bound; hex for what is no encoded key.
  std::string DescribeKey(std::string_view encoded) const;

  Targets FilterTargets(const Filter& filter) const;

  // n - 1 ascending bounds that cut the key space into n chunks of equal width; n >= 1. Empty for patterns that are not
  // hashed: nobody knows yet where their values will lie.
  std::vector<std::string> InitialSplitPoints(int n) const;

 private:
  std::string spec_;
  std::vector<std::string> paths_;
  bool hashed_ = false;  // the first path
};

// What identifies a document among those with its shard key: the encoding of its `_id`.
std::string EncodeId(ValueView id);
// kInvalidArgument if the document has no `_id`.
absl::StatusOr<std::string> EncodeIdFromDocument(std::string_view doc);

// XXH3-64 of the value's encoding.
uint64_t HashValue(ValueView value);

}  // namespace terrane::document
