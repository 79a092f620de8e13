#include "proxy/find_plan.h"

#include <utility>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/projection.h"
#include "rpc/status.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::proxy {

absl::StatusOr<FindPlan> PlanFind(const OpenCollection& collection, v1::DocumentFormat format,
                                  const std::string& filter, const std::string& projection,
                                  const v1::ReadOptions& read) {
  TERRANE_RETURN_IF_ERROR(CheckRead(read));
  FindPlan plan;
  if (format == v1::BSON && projection.empty()) {
    plan.filter = filter;
    TERRANE_ASSIGN_OR_RETURN(plan.keys, PlanFilter(collection.pattern, plan.filter));
    return plan;
  }
  TERRANE_ASSIGN_OR_RETURN(plan.filter, ToBson(format, filter, "filter", v1::ErrorDetail::BAD_FILTER));
  TERRANE_ASSIGN_OR_RETURN(plan.keys, PlanFilter(collection.pattern, plan.filter));
  TERRANE_ASSIGN_OR_RETURN(plan.projection, ToBson(format, projection, "projection", v1::ErrorDetail::BAD_FILTER));
  if (plan.projection.empty()) return plan;
  TERRANE_RETURN_IF_ERROR(
      rpc::WithReason(document::Projection::Parse(plan.projection).status(), v1::ErrorDetail::BAD_FILTER));
  return plan;
}

// A serialized ShardScanRequest: route.collection_id, range.min where the walk goes on, and the resume key if that is
// behind a document. No range: the end was reached.
std::string ResumeTokenOf(CollectionId collection, const std::deque<WalkPiece>& pieces) {
  v1::ShardScanRequest token;
  token.mutable_route()->set_collection_id(collection.value());
  if (!pieces.empty()) {
    token.mutable_range()->set_min(pieces.front().range.min);
    token.set_resume(pieces.front().resume);
  }
  return token.SerializeAsString();
}

absl::Status ResumeWalk(const std::string& token_bytes, CollectionId collection, std::deque<WalkPiece>* pieces) {
  v1::ShardScanRequest token;
  const auto is_resume_key = [&token] {
    const auto key = routing::DecodeResume(token.resume());
    return key && key->shard_key == token.range().min();
  };
  if (!token.ParseFromString(token_bytes) || token.route().collection_id() != collection.value() ||
      (!token.resume().empty() && !is_resume_key())) {
    return InvalidArgument("the resume token is not one of this collection");
  }
  if (!token.has_range()) {
    pieces->clear();
    return absl::OkStatus();
  }
  const KeyRange ahead{token.range().min(), std::nullopt};
  std::deque<WalkPiece> left;
  for (WalkPiece& piece : *pieces) {
    piece.range = piece.range.Intersect(ahead);
    if (!piece.range.Empty()) left.push_back(std::move(piece));
  }
  if (!left.empty() && left.front().range.min == token.range().min()) left.front().resume = token.resume();
  *pieces = std::move(left);
  return absl::OkStatus();
}

std::string InFormat(v1::DocumentFormat format, std::string document) {
  return format == v1::EXTENDED_JSON ? document::ToRelaxedJson(document) : std::move(document);
}

}  // namespace terrane::proxy
