#include "proxy/router.h"

#include <algorithm>
#include <numeric>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/filter.h"
#include "document/validate.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

constexpr std::string_view kEmptyBson("\x05\0\0\0\0", 5);

// Whether the filter is nothing but {path: value} for the shard key's paths and _id, so that the keys say it all. A
// hash does not: other values have it, too.
bool OnlyKeys(std::string_view bson, const document::ShardKeyPattern& pattern) {
  if (pattern.hashed() && pattern.paths().front() != "_id") return false;
  size_t fields = 0;
  for (const document::Field& field : document::Fields(bson)) {
    ++fields;
    const bool key = field.name == "_id" || std::ranges::find(pattern.paths(), field.name) != pattern.paths().end();
    if (!key || field.value.type() == document::Type::kDocument) return false;
  }
  const bool id_in_key = std::ranges::find(pattern.paths(), "_id") != pattern.paths().end();
  return fields == pattern.paths().size() + (id_in_key ? 0 : 1);
}

// Levenshtein distance.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

absl::StatusOr<FilterPlan> PlanFilter(const document::ShardKeyPattern& pattern, std::string_view filter) {
  FilterPlan plan;
  if (filter.empty() || filter == kEmptyBson) {
    plan.ranges.push_back(KeyRange());
    return plan;
  }
  auto parsed = document::Filter::Parse(filter);
  if (!parsed.ok()) return rpc::WithReason(parsed.status(), v1::ErrorDetail::BAD_FILTER);
  document::Targets targets = pattern.FilterTargets(*parsed);
  plan.shard_key = std::move(targets.shard_key);
  plan.id = std::move(targets.id);
  plan.ranges = std::move(targets.ranges);
  if (!plan.full_key() || !OnlyKeys(filter, pattern)) plan.filter = filter;
  return plan;
}

absl::Status CheckRead(const v1::ReadOptions& read) {
  if (!v1::ReadMode_IsValid(read.mode())) {
    return InvalidArgument("read.mode is ", static_cast<int>(read.mode()), "; LINEARIZABLE, LOCAL or FOLLOWER");
  }
  if (read.max_staleness_ms() < 0) {
    return InvalidArgument("read.max_staleness_ms is ", read.max_staleness_ms(), "; it can not be negative");
  }
  if (read.max_staleness_ms() > 0 && read.mode() != v1::FOLLOWER) {
    return InvalidArgument("read.max_staleness_ms is for reads of mode FOLLOWER only");
  }
  return absl::OkStatus();
}

absl::Status CheckDurable(v1::Durability durable) {
  if (v1::Durability_IsValid(durable)) return absl::OkStatus();
  return InvalidArgument("durable is ", static_cast<int>(durable), "; MAJORITY or LEADER");
}

absl::StatusOr<std::string> ToBson(v1::DocumentFormat format, std::string_view bytes, std::string_view what,
                                   v1::ErrorDetail::Reason reason) {
  absl::Status bad;
  if (format == v1::EXTENDED_JSON) {
    if (bytes.empty()) return std::string();
    const auto mode =
        reason == v1::ErrorDetail::BAD_DOCUMENT ? document::JsonMode::kDocument : document::JsonMode::kQuery;
    auto bson = document::DocumentFromJson(bytes, mode);
    if (bson.ok()) return bson;
    bad = bson.status();
  } else if (format == v1::BSON) {
    return std::string(bytes);
  } else {
    bad = InvalidArgument("unknown document format ", static_cast<int>(format));
  }
  return rpc::WithReason(Annotate(bad, what), reason);
}

absl::Status NoSuchCollection(std::string_view name, const std::vector<std::string>& names) {
  std::string hint;
  size_t best = name.size() / 3 + 1;
  for (const std::string& candidate : names) {
    const size_t distance = Distance(name, candidate);
    if (distance <= best && (hint.empty() || distance < best)) {
      best = distance;
      hint = candidate;
    }
    // The same collection of another (or of no) database.
    const size_t dot = candidate.find('.');
    if (hint.empty() && dot != std::string::npos && candidate.substr(dot + 1) == name) hint = candidate;
  }
  absl::Status status = hint.empty() ? NotFound("there is no collection '", name, "'; create it first")
                                     : NotFound("there is no collection '", name, "'; did you mean '", hint, "'?");
  return rpc::WithReason(std::move(status), v1::ErrorDetail::NO_SUCH_COLLECTION);
}

}  // namespace terrane::proxy
