#include "metadata/status_report.h"

#include <grpcpp/grpcpp.h>

#include "common/disk.h"
#include "common/status.h"
#include "common/units.h"
#include "metadata/node.h"
#include "metadata/waiting.h"
#include "rpc/status.h"
#include "rpc/unary.h"
#include "terrane/v1/metadata.grpc.pb.h"

namespace terrane::metadata {
namespace {

using migration::Stage;

constexpr std::chrono::milliseconds kProbe(300);
// A move that does nothing for longer is worth a sentence.
constexpr int64_t kSlowStageMs = 30'000;
constexpr double kLowDisk = 0.05;
// Its leader hears a replica that is well many times a second.
constexpr int64_t kReplicaSilenceMs = 3'000;

// A call without effect; a node that does not lead answers NOT_LEADER, which is an answer.
struct Probe {
  grpc::ClientContext context;
  v1::GetMigrationRequest request;
  v1::GetMigrationResponse response;
  std::unique_ptr<v1::Metadata::Stub> stub;
};

Waiting<bool> StartProbe(rpc::ChannelPool* pool, const std::string& endpoint) {
  auto probe = std::make_shared<Probe>();
  probe->stub = v1::Metadata::NewStub(pool->Get(endpoint));
  probe->context.set_deadline(std::chrono::system_clock::now() + kProbe);
  Waiting<bool> waiting;
  probe->stub->async()->GetMigration(&probe->context, &probe->request, &probe->response,
                                     [probe, waiting](grpc::Status status) {
                                       const absl::Status result = rpc::FromGrpc(status);
                                       waiting.Set(result.ok() || rpc::DetailOf(result).has_value());
                                     });
  return waiting;
}

void AddMetadataNodes(Node& node, rpc::ChannelPool* pool, v1::StatusResponse* response) {
  std::vector<std::pair<size_t, Waiting<bool>>> probes;
  const auto& members = node.options().members;
  for (size_t i = 0; i < members.size(); ++i) {
    auto* info = response->add_metadata();
    info->set_replica_id(members[i].replica.value());
    info->set_endpoint(node.AddressOf(members[i]));
    if (members[i].replica == node.options().replica) {
      info->set_leader(true);
      info->set_reachable(true);
      info->set_term(node.log().Leader().term.value());
      info->set_applied(node.log().Applied().value());
    } else {
      probes.emplace_back(i, StartProbe(pool, members[i].address));
    }
  }
  const MonotonicTime until = node.clock()->Now() + 2 * kProbe;
  for (auto& [i, probe] : probes) {
    response->mutable_metadata(static_cast<int>(i))->set_reachable(probe.Wait(until).value_or(false));
  }
  int reachable = 0;
  for (const auto& info : response->metadata()) {
    reachable += info.reachable() ? 1 : 0;
    if (!info.reachable()) {
      response->add_problems(StrCat("metadata node ", info.replica_id(), " at ", info.endpoint(), " does not answer"));
    }
  }
  const int more = reachable - (response->metadata_size() / 2 + 1);
  if (response->metadata_size() > 1 && more == 0) {
    response->add_problems("no further metadata node may fail: exactly a majority answers");
  }
}

void CheckReplicas(const std::string& shard, const v1::ShardStatistics& statistics, v1::StatusResponse* response) {
  int voters = 0;
  int answering = 0;
  for (const v1::ReplicaStatus& replica : statistics.replicas()) {
    const bool answers = replica.leader() || replica.silent_ms() < kReplicaSilenceMs;
    voters += replica.learner() ? 0 : 1;
    answering += !replica.learner() && answers ? 1 : 0;
    if (!answers) {
      response->add_problems(StrCat("replica ", replica.replica_id(), " of shard ", shard, " at ", replica.endpoint(),
                                    " has not been heard of for ", replica.silent_ms() / 1000, " s"));
    }
  }
  if (voters > 1 && answering == voters / 2 + 1) {
    response->add_problems(
        StrCat("no further replica of shard ", shard, " may fail: exactly a majority of its voters answers"));
  }
}

void CheckShard(const v1::Shard& shard, const ShardRegistry& registry, MonotonicTime now,
                v1::StatusResponse* response) {
  const auto silence = std::chrono::duration_cast<std::chrono::seconds>(now - registry.SilentSince(shard.name()));
  const std::optional<ShardRegistry::Report> report = registry.Find(shard.name());
  if (silence >= kShardSilence) {
    response->add_problems(StrCat("shard ", shard.name(), " has been silent for ", silence.count(), " s",
                                  report ? "" : ", for as long as this metadata leader is listening"));
  }
  if (!report) return;
  const auto& statistics = report->statistics;
  if (silence < kShardSilence) CheckReplicas(shard.name(), statistics, response);
  const int64_t total = statistics.disk_total_bytes();
  const auto reserve = static_cast<int64_t>(DefaultDiskReserve(static_cast<uint64_t>(total)));
  const auto low = static_cast<int64_t>(kLowDisk * static_cast<double>(total));
  if (total > 0 && statistics.disk_free_bytes() < std::max(low, reserve + reserve / 4)) {
    response->add_problems(StrCat("shard ", shard.name(), " has only ", FormatBytes(statistics.disk_free_bytes()),
                                  " of disk left, and refuses writes below ", FormatBytes(reserve),
                                  " (or its --disk-reserve). Make room, or move chunks to another shard"));
  }
}

void CheckMoves(Node& node, v1::StatusResponse* response) {
  const int64_t now_ms = node.clock()->Wall().count();
  for (const auto& record : response->active_migrations()) {
    const Stage stage = migration::StageOf(record);
    const int64_t since = now_ms - record.stage_since_ms();
    if (stage == Stage::kPlanned || stage == Stage::kCopying || since < kSlowStageMs) continue;
    response->add_problems(StrCat("migration ", record.id(), " has been in ", migration::NameOf(stage), " for ",
                                  since / 1000, " s", record.reason().empty() ? "" : ": ", record.reason(),
                                  " (terrane migration show ", record.id(), ")"));
  }
}

}  // namespace

absl::StatusOr<v1::StatusResponse> MakeStatusReport(Node& node, rpc::ChannelPool* pool, MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  v1::StatusResponse response;
  std::map<std::string, int64_t> chunks;  // the map knows better than the last heartbeats
  node.Read([&](const State& state) {
    chunks = state.ChunksOfShards();
    response.set_cluster(state.cluster());
    response.set_revision(state.revision().value());
    response.set_chunks(static_cast<int64_t>(state.chunk_count()));
    for (const auto& [name, shard] : state.shards()) *response.add_shards() = shard;
    for (const auto& [id, record] : state.migrations()) {
      if (!migration::IsEnded(migration::StageOf(record))) *response.add_active_migrations() = record;
    }
    for (const auto& [id, entry] : state.collections()) {
      if (entry.record.state() == v1::Collection::CREATING) {
        response.add_problems(StrCat("collection ", entry.record.name(),
                                     " is not usable yet: its shards have not all confirmed their chunks"));
      }
    }
  });
  if (response.shards().empty()) response.add_problems("no shard has registered: nothing can be stored");
  AddMetadataNodes(node, pool, &response);
  const MonotonicTime now = node.clock()->Now();
  for (auto& shard : *response.mutable_shards()) {
    CheckShard(shard, node.registry(), now, &response);
    node.registry().Describe(&shard);
    shard.mutable_statistics()->set_chunks(chunks[shard.name()]);
    response.set_documents(response.documents() + shard.statistics().documents());
    response.set_bytes(response.bytes() + shard.statistics().document_bytes());
  }
  CheckMoves(node, &response);
  return response;
}

}  // namespace terrane::metadata
