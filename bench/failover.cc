#include <grpcpp/grpcpp.h>

#include "client/client.h"
#include "common/histogram.h"
#include "probe.h"
#include "rpc/channel.h"
#include "rpc/status.h"
#include "sections.h"
#include "terrane/v1/cluster.grpc.pb.h"

namespace terrane::bench {
namespace {

absl::StatusOr<std::string> MetadataLeader(client::Client* admin) {
  TERRANE_ASSIGN_OR_RETURN(const auto status, admin->Status());
  for (const auto& node : status.metadata()) {
    if (node.leader()) return StrCat("m", node.replica_id());
  }
  return Internal("no metadata node leads");
}

}  // namespace

absl::Status BenchFailover(const BenchOptions& options, Table* table) {
  const int kills = options.quick ? 5 : 50;
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "failover", 1, {}, /*metadata=*/3));
  const std::string proxy = cluster->ProxyEndpoints().front();
  TERRANE_ASSIGN_OR_RETURN(auto admin,
                           client::Client::Connect({.proxies = {proxy}, .deadline = std::chrono::seconds(20)}));
  const auto stub = terrane::v1::Cluster::NewStub(rpc::MakeChannel(proxy));
  // A command that a majority must have on disk, and that changes nothing.
  Probe commands([&](int64_t) {
    terrane::v1::SetSettingRequest request;
    request.set_name("migration.moves_per_shard");
    terrane::v1::SetSettingResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return rpc::FromGrpc(stub->SetSetting(&context, request, &response));
  });
  Histogram gaps;  // microseconds
  for (int kill = 0; kill < kills; ++kill) {
    TERRANE_ASSIGN_OR_RETURN(const std::string leader, MetadataLeader(admin.get()));
    commands.Take();
    TERRANE_RETURN_IF_ERROR(cluster->Kill(leader));
    // Served again: whatever began before the kill has ended.
    const int64_t before = commands.operations();
    while (commands.operations() < before + 2 && commands.status().ok()) std::this_thread::yield();
    TERRANE_RETURN_IF_ERROR(Annotate(commands.status(), "a command during a failover"));
    gaps.Record(static_cast<uint64_t>(commands.Take()));
    TERRANE_RETURN_IF_ERROR(cluster->StartProcess(leader));
  }
  for (const auto& [name, fraction] : {std::pair("p50", 0.5), std::pair("p99", 0.99), std::pair("max", 1.0)}) {
    table->Add({StrCat("metadata leader killed, ", kills, " times"), StrCat("longest command ", name),
                static_cast<double>(gaps.Percentile(fraction)) / 1000, "ms", std::nullopt, "",
                "kill -9; elections after 300 to 600 ms without a leader"});
  }
  return absl::OkStatus();
}

}  // namespace terrane::bench
