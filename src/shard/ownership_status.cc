// What the gate and the entries decided, as errors for callers.
#include "common/status.h"
#include "rpc/status.h"
#include "shard/ownership.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

absl::Status ToStatus(const EntryResult& result, const MoveRef& move) {
  v1::ErrorDetail detail;
  detail.set_migration_id(move.id.value());
  detail.set_attempt(move.attempt.value());
  absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  switch (result.outcome) {
    case Outcome::kApplied:
    case Outcome::kAlready:
      return absl::OkStatus();
    case Outcome::kStaleAttempt:
      detail.set_reason(v1::ErrorDetail::STALE_ATTEMPT);
      break;
    case Outcome::kNoSuchChunk:
      code = absl::StatusCode::kNotFound;
      detail.set_reason(v1::ErrorDetail::NO_SUCH_CHUNK);
      break;
    case Outcome::kConflict:
      detail.set_reason(v1::ErrorDetail::MIGRATION_CONFLICT);
      break;
    case Outcome::kDigestMismatch:
      code = absl::StatusCode::kDataLoss;
      detail.set_reason(v1::ErrorDetail::DIGEST_MISMATCH);
      break;
    case Outcome::kStaleToken:
    case Outcome::kHole:
    case Outcome::kTooOld:
      code = absl::StatusCode::kAborted;
      break;
    case Outcome::kWrongState:
    case Outcome::kNoFence:
    case Outcome::kIncomplete:
      break;
  }
  return rpc::WithDetail(MakeStatus(code, result.why), detail);
}

absl::Status ToStatus(const Verdict& verdict, const std::string& this_shard) {
  v1::ErrorDetail detail;
  switch (verdict.kind) {
    case Verdict::Kind::kServe:
    case Verdict::Kind::kServeByProof:
      return absl::OkStatus();
    case Verdict::Kind::kStaleRoute:
      detail.set_reason(v1::ErrorDetail::STALE_ROUTE);
      if (verdict.owner) {
        *detail.mutable_route() = *verdict.owner;
        if (detail.route().shard().empty()) detail.mutable_route()->set_shard(this_shard);
      }
      return rpc::WithDetail(Aborted("the request's route is out of date"), detail);
    case Verdict::Kind::kFenced:
      detail.set_reason(v1::ErrorDetail::CHUNK_FENCED);
      detail.set_migration_id(verdict.move.id.value());
      detail.set_attempt(verdict.move.attempt.value());
      return rpc::WithDetail(Unavailable("the chunk is being switched by migration ", verdict.move.id.value()), detail);
    case Verdict::Kind::kAhead:
      detail.set_reason(v1::ErrorDetail::ROUTE_AHEAD);
      return rpc::WithDetail(Unavailable("the request's route is newer than what this shard has heard"), detail);
  }
  return Internal("unknown verdict");
}

}  // namespace terrane::shard
