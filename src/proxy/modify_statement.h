// Update, replace and delete.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "proxy/router.h"
#include "proxy/statement.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::proxy {

struct Modification {
  v1::ShardModifyRequest::Kind kind = v1::ShardModifyRequest::UPDATE;
  FilterPlan plan;
  std::string filter;  // BSON; the whole of it
  std::string update;  // BSON: operators, or the replacement
  bool multi = false;
  bool upsert = false;
  v1::RetryId retry;
  v1::Durability durable = v1::MAJORITY;
};

struct ModifyResult {
  int64_t matched = 0;
  int64_t modified = 0;
  int64_t deleted = 0;
  std::string upserted_id;  // BSON {_id: ..}
};

// kInvalidArgument: bad filter, update or replacement; an upsert without the full shard key. Does not fill in `retry`
// and `durable`.
absl::StatusOr<Modification> PlanModification(const document::ShardKeyPattern& pattern,
                                              v1::ShardModifyRequest::Kind kind, v1::DocumentFormat format,
                                              std::string_view filter, std::string_view update, bool multi,
                                              bool upsert);

// Calls done(status, result) once, in a callback or here. With `multi` what is done stays done when an error ends it:
// the same statement sent again changes the rest.
//
// One document by a filter that names no shard key: chunk after chunk is asked for its first match until one has it. A
// statement that is sent again finds what it did in the chunk where it did it; but if by then an earlier chunk has got
// a match, that one is changed as well (docs/architecture.md).
void RunModification(StatementContext context, Modification modification,
                     std::function<void(absl::Status, ModifyResult)> done);

}  // namespace terrane::proxy
