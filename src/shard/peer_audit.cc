#include "shard/peer_audit.h"

#include <future>
#include <string>
#include <vector>

#include "common/logging.h"
#include "common/status.h"
#include "rpc/status.h"
#include "shard/convert.h"
#include "storage/digest.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr std::chrono::milliseconds kAuditTimeout{120000};
constexpr std::chrono::milliseconds kLook{20};

}  // namespace

absl::Status AuditPeers(PeerReplicas* peers, CopyId copy, const KeyRange& range, Position position,
                        const std::function<bool()>& cancelled) {
  std::vector<PeerReplica> voters = peers->Others();
  std::erase_if(voters, [](const PeerReplica& peer) { return !peer.voter; });
  v1::AuditRequest request;
  request.set_copy_id(copy.value());
  *request.mutable_range() = ToProto(range);
  request.set_any_replica(true);
  request.set_min_position(position.value());
  std::vector<std::future<absl::StatusOr<v1::AuditResponse>>> answers;
  for (const PeerReplica& voter : voters) {
    answers.push_back(
        std::async(std::launch::async, [=, &request] { return peers->Audit(voter, request, kAuditTimeout); }));
  }
  size_t sound = 1;
  std::string damaged;
  std::string silent;
  for (size_t i = 0; i < voters.size(); ++i) {
    while (answers[i].wait_for(kLook) != std::future_status::ready) {
      if (cancelled()) peers->Stop();
    }
    const absl::StatusOr<v1::AuditResponse> answer = answers[i].get();
    const std::string name = StrCat("replica ", voters[i].replica.value(), " at ", voters[i].endpoint);
    if (!answer.ok() && absl::IsDataLoss(answer.status())) {
      StrAppend(&damaged, damaged.empty() ? "" : "; ", name, ": ", MessageOf(answer.status()));
    } else if (!answer.ok()) {
      StrAppend(&silent, "; ", name, ": ", MessageOf(answer.status()));
    } else if (storage::FromProto(answer->scanned()) != storage::FromProto(answer->running())) {
      StrAppend(&damaged, damaged.empty() ? "" : "; ", name, ": ", answer->detail());
    } else {
      ++sound;
    }
  }
  if (cancelled()) return MakeStatus(absl::StatusCode::kCancelled, "the verification was stopped");
  if (!damaged.empty()) {
    return rpc::WithReason(DataLoss("copy ", copy.value(), " is damaged on the target's ", damaged),
                           v1::ErrorDetail::DIGEST_MISMATCH);
  }
  if (sound <= (voters.size() + 1) / 2) {
    return Unavailable("only ", sound, " of ", voters.size() + 1, " replicas could look at their copy", silent);
  }
  if (!silent.empty()) {
    LogWarn("verify", "a voter of the target was not verified", {{"copy", copy}, {"why", silent.substr(2)}});
  }
  return absl::OkStatus();
}

}  // namespace terrane::shard
