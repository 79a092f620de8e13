#include "proxy/retry_decision.h"

#include "common/status.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

using v1::ErrorDetail;

NextMove DecideWithoutReason(const absl::Status& status, bool repeatable, bool replicated) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:       // the connection broke, or was never there
    case absl::StatusCode::kDeadlineExceeded:  // of this attempt
    case absl::StatusCode::kCancelled:         // the shard is shutting down
      return repeatable ? NextMove::kOtherReplica : NextMove::kReturn;
    case absl::StatusCode::kDataLoss:  // on this replica's disk: it begins again from the others, which have the data
      return repeatable && replicated ? NextMove::kOtherReplica : NextMove::kReturn;
    default:
      return NextMove::kReturn;
  }
}

}  // namespace

NextMove Decide(const absl::Status& status, const std::optional<ErrorDetail>& detail, bool repeatable,
                bool replicated) {
  switch (detail ? detail->reason() : ErrorDetail::UNKNOWN) {
    case ErrorDetail::STALE_ROUTE:
      return detail->has_route() && detail->route().copy_id() != 0 ? NextMove::kLearnRoute : NextMove::kRefreshRoute;
    case ErrorDetail::CHUNK_FENCED:
      return NextMove::kHold;
    case ErrorDetail::ROUTE_AHEAD:
      return NextMove::kPause;
    case ErrorDetail::NOT_LEADER:
    case ErrorDetail::TOO_STALE:
      return NextMove::kOtherReplica;
    case ErrorDetail::OUTCOME_UNKNOWN:
      return repeatable ? NextMove::kPause : NextMove::kReturn;
    case ErrorDetail::UNKNOWN:
      return DecideWithoutReason(status, repeatable, replicated);
    default:
      return NextMove::kReturn;
  }
}

absl::Status ForApplication(const absl::Status& status) {
  if (status.ok()) return status;
  const auto detail = rpc::DetailOf(status);
  const auto as_unavailable = [&](std::string_view words) {
    absl::Status result = Unavailable(words, ": ", MessageOf(status));
    return detail ? rpc::WithDetail(result, *detail) : result;
  };
  switch (detail ? detail->reason() : ErrorDetail::UNKNOWN) {
    case ErrorDetail::STALE_ROUTE:
    case ErrorDetail::ROUTE_AHEAD:
      return as_unavailable("the owner of the chunk could not be found in time");
    case ErrorDetail::OUTCOME_UNKNOWN:
      return as_unavailable("the outcome is unknown; send it again with the same RetryId");
    case ErrorDetail::NOT_LEADER:
      return as_unavailable("the shard has no leader");
    default:
      return status;
  }
}

}  // namespace terrane::proxy
