#include "document/shard_key.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>

#include "common/status.h"
#include "document/builder.h"
#include "document/bytes.h"
#include "document/extended_json.h"
#include "document/key_encoding.h"
#include "document/validate.h"

namespace terrane::document {
namespace {

constexpr size_t kMaxFields = 16;
constexpr size_t kHashBytes = 8;
// A filter that names more keys than this is answered by visiting wider ranges.
constexpr size_t kMaxTargets = 1000;

// Whether `inner` is `outer` or lies inside of it.
bool LiesIn(std::string_view inner, std::string_view outer) {
  return inner.substr(0, outer.size()) == outer && (inner.size() == outer.size() || inner[outer.size()] == '.');
}

absl::Status CheckPath(std::string_view path, const std::vector<std::string>& earlier) {
  for (size_t start = 0; start <= path.size();) {
    size_t dot = std::min(path.find('.', start), path.size());
    if (dot == start) return InvalidArgument("shard key path '", path, "' has an empty component");
    if (path[start] == '$') return InvalidArgument("shard key path '", path, "' has a component that begins with $");
    start = dot + 1;
  }
  for (const std::string& other : earlier) {
    if (LiesIn(path, other) || LiesIn(other, path)) {
      return InvalidArgument("shard key paths '", other, "' and '", path, "' overlap");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKeyValue(std::string_view path, ValueView value) {
  Type type = value.type();
  if (type == Type::kArray || type == Type::kRegex || type == Type::kUndefined) {
    return InvalidArgument("shard key field '", path, "' must not be of type ", TypeName(type));
  }
  return absl::OkStatus();
}

absl::StatusOr<ValueView> FindKeyValue(std::string_view doc, std::string_view path) {
  for (size_t start = 0;;) {
    size_t dot = path.find('.', start);
    std::optional<ValueView> value = FindDirect(doc, path.substr(start, dot == path.npos ? dot : dot - start));
    if (!value) return InvalidArgument("document has no shard key field '", path, "'");
    if (value->type() == Type::kArray || dot == path.npos) {
      TERRANE_RETURN_IF_ERROR(CheckKeyValue(path.substr(0, dot), *value));
      return *value;
    }
    if (value->type() != Type::kDocument) return InvalidArgument("document has no shard key field '", path, "'");
    doc = value->AsDocument();
    start = dot + 1;
  }
}

// What the conditions on one field say about its encoding.
struct FieldTargets {
  std::optional<std::vector<ValueView>> points;  // the values that are possible, if these are few
  std::string min;                               // else [min, max) of encodings
  std::optional<std::string> max;
};

// The encodings that are comparable with `value` for a filter: those of its type rank.
std::pair<std::string, std::string> Bracket(ValueView value) {
  uint8_t first = static_cast<uint8_t>(EncodeKey(value)[0]);
  uint8_t last = first;
  if (value.IsNumber()) {
    first = static_cast<uint8_t>(EncodeKey(Value::Double(std::numeric_limits<double>::quiet_NaN()))[0]);
    last = static_cast<uint8_t>(EncodeKey(Value::Int32(1))[0]);
  }
  return {std::string(1, static_cast<char>(first)), std::string(1, static_cast<char>(last + 1))};
}

void Narrow(const FieldCondition& condition, FieldTargets* targets) {
  using Op = FieldCondition::Op;
  ValueView value = condition.values[0];
  if (value.type() == Type::kUndefined) return;  // compares like null
  auto at_least = [&](std::string bound) { targets->min = std::max(targets->min, std::move(bound)); };
  auto below = [&](std::string bound) {
    if (!targets->max || bound < *targets->max) targets->max = std::move(bound);
  };
  if (value.type() != Type::kMinKey && value.type() != Type::kMaxKey) {
    auto [first, end] = Bracket(value);
    at_least(first);
    below(end);
  }
  std::string encoded = EncodeKey(value);
  switch (condition.op) {
    case Op::kGreater:
      at_least(*PrefixEnd(encoded));
      break;
    case Op::kGreaterOrEqual:
      at_least(encoded);
      break;
    case Op::kLess:
      below(encoded);
      break;
    case Op::kLessOrEqual:
      below(*PrefixEnd(encoded));
      break;
    case Op::kEqual:
    case Op::kIn:
      break;
  }
}

FieldTargets TargetsOf(const Filter& filter, std::string_view path) {
  using Op = FieldCondition::Op;
  FieldTargets targets;
  for (const FieldCondition& condition : filter.conditions()) {
    if (condition.path != path) continue;
    if (condition.op != Op::kEqual && condition.op != Op::kIn) {
      Narrow(condition, &targets);
      continue;
    }
    std::vector<ValueView> points;
    bool usable = true;
    for (const Value& value : condition.values) {
      usable &= value.type() != Type::kUndefined;
      // A shard key is never an array or a regular expression, so it never equals one.
      if (value.type() != Type::kArray && value.type() != Type::kRegex) points.push_back(value);
    }
    if (usable && (!targets.points || points.size() < targets.points->size())) targets.points = std::move(points);
  }
  return targets;
}

// The range of all keys that begin with `prefix`.
KeyRange PrefixRange(std::string_view prefix) {
  return {.min = std::string(prefix), .max = PrefixEnd(prefix)};
}

std::string HashBytes(ValueView value) {
  std::string out;
  AppendBig(HashValue(value), &out);
  return out;
}

std::optional<std::string> ParseHash(ValueView value) {
  if (value.type() != Type::kDocument) return std::nullopt;
  std::optional<ValueView> hash = FindDirect(value.AsDocument(), "$hash");
  if (!hash || hash->type() != Type::kString || hash->AsString().size() != 2 * kHashBytes) return std::nullopt;
  std::string_view text = hash->AsString();
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  std::string out;
  AppendBig(number, &out);
  return out;
}

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (char c : bytes) {
    out.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    out.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
  }
  return out;
}

}  // namespace

ShardKeyPattern::ShardKeyPattern()
    : spec_(Builder().Append("_id", "hashed").Finish()), paths_({"_id"}), hashed_(true) {}

absl::StatusOr<ShardKeyPattern> ShardKeyPattern::Parse(std::string_view spec) {
  TERRANE_RETURN_IF_ERROR(ValidateStructure(spec));
  ShardKeyPattern pattern;
  pattern.spec_ = std::string(spec);
  pattern.paths_.clear();
  pattern.hashed_ = false;
  for (const Field& field : Fields(spec)) {
    TERRANE_RETURN_IF_ERROR(CheckPath(field.name, pattern.paths_));
    bool hashed = field.value.type() == Type::kString && field.value.AsString() == "hashed";
    if (!hashed && field.value.ToInt64() != 1) {
      return InvalidArgument("shard key field '", field.name, "' must be 1 or \"hashed\"");
    }
    if (hashed && !pattern.paths_.empty()) {
      return InvalidArgument("shard key field '", field.name, "': only the first field can be hashed");
    }
    pattern.hashed_ |= hashed;
    pattern.paths_.emplace_back(field.name);
  }
  if (pattern.paths_.empty()) return InvalidArgument("a shard key needs at least one field");
  if (pattern.paths_.size() > kMaxFields) return InvalidArgument("a shard key has at most ", kMaxFields, " fields");
  return pattern;
}

std::string ShardKeyPattern::ToString() const {
  return ToRelaxedJson(spec_);
}

bool ShardKeyPattern::DependsOn(std::string_view path) const {
  return std::any_of(paths_.begin(), paths_.end(),
                     [&](const std::string& key) { return LiesIn(path, key) || LiesIn(key, path); });
}

absl::StatusOr<std::string> ShardKeyPattern::EncodeFromDocument(std::string_view doc) const {
  std::string out;
  for (size_t i = 0; i < paths_.size(); ++i) {
    TERRANE_ASSIGN_OR_RETURN(ValueView value, FindKeyValue(doc, paths_[i]));
    if (i == 0 && hashed_) {
      out += HashBytes(value);
    } else {
      AppendKey(value, &out);
    }
  }
  return out;
}

absl::StatusOr<std::string> ShardKeyPattern::EncodeBound(std::string_view bound) const {
  TERRANE_RETURN_IF_ERROR(ValidateStructure(bound));
  std::string out;
  size_t i = 0;
  for (const Field& field : Fields(bound)) {
    if (i >= paths_.size()) return InvalidArgument("bound field '", field.name, "' is no field of the shard key");
    if (field.name != paths_[i]) {
      return InvalidArgument("bound field '", field.name, "': expected '", paths_[i], "', as in the shard key");
    }
    TERRANE_RETURN_IF_ERROR(CheckKeyValue(field.name, field.value));
    if (i == 0 && hashed_) {
      bool wrapped = field.value.type() == Type::kDocument && FindDirect(field.value.AsDocument(), "$hash").has_value();
      std::optional<std::string> hash = wrapped ? ParseHash(field.value) : HashBytes(field.value);
      if (!hash) return InvalidArgument("bound field '", field.name, "': $hash needs a string of 16 hex digits");
      out += *hash;
    } else {
      AppendKey(field.value, &out);
    }
    ++i;
  }
  return out;
}

std::string ShardKeyPattern::DescribeKey(std::string_view encoded) const {
  Builder out;
  std::string_view rest = encoded;
  for (size_t i = 0; i < paths_.size() && !rest.empty(); ++i) {
    if (i == 0 && hashed_) {
      if (rest.size() < kHashBytes) return Hex(encoded);
      out.Append(paths_[0], Builder().Append("$hash", Hex(rest.substr(0, kHashBytes))));
      rest.remove_prefix(kHashBytes);
      continue;
    }
    absl::StatusOr<Value> value = DecodeKey(&rest);
    if (!value.ok()) return Hex(encoded);
    out.Append(paths_[i], *value);
  }
  return rest.empty() ? ToRelaxedJson(out.Finish()) : Hex(encoded);
}

Targets ShardKeyPattern::FilterTargets(const Filter& filter) const {
  Targets out;
  if (std::optional<ValueView> id = filter.PinnedValue("_id")) out.id = EncodeId(*id);
  std::vector<std::string> prefixes = {""};
  size_t known = 0;  // fields that the prefixes contain
  FieldTargets last;
  for (; known < paths_.size(); ++known) {
    bool hashed = known == 0 && hashed_;
    FieldTargets field = TargetsOf(filter, paths_[known]);
    if (!field.points || field.points->size() * prefixes.size() > kMaxTargets) {
      if (!hashed) last = std::move(field);
      break;
    }
    std::vector<std::string> longer;
    for (const std::string& prefix : prefixes) {
      for (ValueView point : *field.points) {
        longer.push_back(prefix + (hashed ? HashBytes(point) : EncodeKey(point)));
      }
    }
    std::sort(longer.begin(), longer.end());
    longer.erase(std::unique(longer.begin(), longer.end()), longer.end());
    prefixes = std::move(longer);
  }
  if (known == paths_.size() && prefixes.size() == 1) out.shard_key = prefixes[0];
  for (const std::string& prefix : prefixes) {
    KeyRange range = PrefixRange(prefix);
    range.min += last.min;
    if (last.max) range.max = prefix + *last.max;
    if (!range.Empty()) out.ranges.push_back(std::move(range));
  }
  return out;
}

std::vector<std::string> ShardKeyPattern::InitialSplitPoints(int n) const {
  Require(n >= 1, "a collection has at least one chunk");
  std::vector<std::string> points;
  for (int i = 1; hashed_ && i < n; ++i) {
    unsigned __int128 whole = static_cast<unsigned __int128>(1) << 64;
    AppendBig(static_cast<uint64_t>(whole * static_cast<unsigned>(i) / static_cast<unsigned>(n)),
              &points.emplace_back());
  }
  return points;
}

std::string EncodeId(ValueView id) {
  return EncodeKey(id);
}

absl::StatusOr<std::string> EncodeIdFromDocument(std::string_view doc) {
  std::optional<ValueView> id = FindDirect(doc, "_id");
  if (!id) return InvalidArgument("document has no field '_id'");
  return EncodeId(*id);
}

uint64_t HashValue(ValueView value) {
  std::string encoded = EncodeKey(value);
  return XXH3_64bits(encoded.data(), encoded.size());
}

}  // namespace terrane::document
