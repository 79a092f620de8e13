#include "shard/admin_service.h"

#include "common/status.h"
#include "document/shard_key.h"
#include "rpc/unary.h"
#include "shard/convert.h"
#include "shard/replica_changes.h"
#include "shard/state_records.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr int kCheckEvery = 256;
constexpr std::chrono::seconds kBehindWait{5};  // for a replica that is behind what is asked

// Documents that are stored under a key that is not theirs.
absl::StatusOr<int64_t> CountMisplaced(const Core& core, const CallState& call, const storage::ReadView& view,
                                       const OwnedChunk& chunk) {
  document::ShardKeyPattern pattern;
  if (!chunk.shard_key.empty()) {
    TERRANE_ASSIGN_OR_RETURN(pattern, document::ShardKeyPattern::Parse(chunk.shard_key));
  }
  int64_t misplaced = 0;
  int visited = 0;
  auto cursor = view.Documents(chunk.copy, chunk.range, /*for_scan=*/true);
  for (; cursor->Valid(); cursor->Next()) {
    if (++visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call.Check(*core.clock));
    const auto shard_key = pattern.EncodeFromDocument(cursor->document());
    const auto id = document::EncodeIdFromDocument(cursor->document());
    if (!shard_key.ok() || !id.ok() || *shard_key != cursor->shard_key() || *id != cursor->id()) ++misplaced;
  }
  TERRANE_RETURN_IF_ERROR(cursor->status());
  return misplaced;
}

class AdminService final : public v1::ShardAdmin::CallbackService {
 public:
  AdminService(const Core* core, StatisticsCollector* statistics, Executor* steps, Executor* slow,
               std::function<v1::ExportCounters()> exported)
      : core_(*core), statistics_(*statistics), steps_(steps), slow_(slow), exported_(std::move(exported)) {}

  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest*,
                                     v1::DescribeResponse* response) override {
    return rpc::RunBlocking(context, steps_, [this, response](const rpc::Call&) -> absl::Status {
      response->set_shard(core_.shard);
      response->set_applied(core_.store->AppliedPosition().value());
      if (exported_) *response->mutable_exported() = exported_();
      response->set_leader(core_.proposer->ServingTerm().ok());
      TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(*core_.store->View()));
      *response->mutable_ownership() = ownership.Save();
      *response->mutable_statistics() = statistics_.Collect();
      TERRANE_ASSIGN_OR_RETURN(const auto copies, core_.store->ListCopies());
      for (const storage::CopyOnDisk& copy : copies) response->add_copies_on_disk(copy.copy.value());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Audit(grpc::CallbackServerContext* context, const v1::AuditRequest* request,
                                  v1::AuditResponse* response) override {
    return rpc::RunBlocking(context, slow_, [this, request, response](const rpc::Call& call) -> absl::Status {
      if (!request->any_replica()) TERRANE_RETURN_IF_ERROR(core_.proposer->ServingTerm().status());
      CallState state{call.deadline(), [&call] { return call.cancelled(); }};
      TERRANE_ASSIGN_OR_RETURN(*response, shard::Audit(core_, state, *request));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ChangeReplica(grpc::CallbackServerContext* context,
                                          const v1::ChangeShardReplicaRequest* request,
                                          v1::ChangeShardReplicaResponse* response) override {
    return rpc::RunBlocking(context, slow_, [this, request, response](const rpc::Call&) -> absl::Status {
      TERRANE_ASSIGN_OR_RETURN(*response, shard::ChangeReplica(core_, *request));
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* StepDown(grpc::CallbackServerContext* context, const v1::ShardStepDownRequest* request,
                                     v1::ShardStepDownResponse* response) override {
    return rpc::RunBlocking(context, steps_, [this, request, response](const rpc::Call&) -> absl::Status {
      TERRANE_ASSIGN_OR_RETURN(*response, shard::StepDown(core_, *request));
      return absl::OkStatus();
    });
  }

 private:
  const Core& core_;
  StatisticsCollector& statistics_;
  Executor* const steps_;
  Executor* const slow_;
  const std::function<v1::ExportCounters()> exported_;
};

}  // namespace

absl::StatusOr<v1::AuditResponse> Audit(const Core& core, const CallState& call, const v1::AuditRequest& request) {
  const CopyId copy(request.copy_id());
  const KeyRange range = FromProto(request.range());
  if (request.min_position() > 0) {
    const Position applied = core.store->WaitAppliedBeyond(Position(request.min_position() - 1), kBehindWait);
    if (applied.value() < request.min_position()) {
      return Unavailable("this replica has applied ", applied.value(), ", asked for is ", request.min_position());
    }
  }
  TERRANE_ASSIGN_OR_RETURN(const auto view, core.store->View(copy));
  TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(*view));
  v1::AuditResponse response;
  response.set_position(view->AppliedPosition().value());
  ChunkDigest running;
  ChunkDigest scanned;
  std::string reached = range.min;
  bool reached_end = false;
  for (const OwnedChunk* chunk : ownership.OfCopy(copy)) {
    if (!chunk->range.Overlaps(range)) continue;
    if (!range.Contains(chunk->range) || chunk->range.min != reached) break;
    reached_end = chunk->range.max == range.max;
    if (chunk->range.max) reached = *chunk->range.max;
    running += chunk->digest;
    TERRANE_ASSIGN_OR_RETURN(const ChunkDigest digest, storage::ScanDigest(*view, copy, chunk->range, [&](uint64_t) {
                               return call.Check(*core.clock);
                             }));
    scanned += digest;
    TERRANE_ASSIGN_OR_RETURN(const int64_t misplaced, CountMisplaced(core, call, *view, *chunk));
    response.set_misplaced(response.misplaced() + misplaced);
  }
  if (!reached_end) {
    return rpc::WithReason(NotFound("copy ", copy.value(), " has no chunks that make up ", range.ToString()),
                           v1::ErrorDetail::NO_SUCH_CHUNK);
  }
  *response.mutable_scanned() = storage::ToProto(scanned);
  *response.mutable_running() = storage::ToProto(running);
  if (scanned != running) {
    response.set_detail(StrCat("on disk: ", scanned.ToString(), "; running digest: ", running.ToString()));
  } else if (response.misplaced() > 0) {
    response.set_detail(StrCat(response.misplaced(), " documents lie under a key that is not theirs"));
  }
  return response;
}

std::unique_ptr<grpc::Service> MakeAdminService(const Core* core, StatisticsCollector* statistics, Executor* steps,
                                                Executor* slow, std::function<v1::ExportCounters()> exported) {
  return std::make_unique<AdminService>(core, statistics, steps, slow, std::move(exported));
}

}  // namespace terrane::shard
