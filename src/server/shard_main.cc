// terrane-shard: one replica of one shard.
#include "common/clock_at_rate.h"
#include "common/disk_faults.h"
#include "common/version.h"
#include "server/server_main.h"
#include "shard/server.h"

namespace terrane {
namespace {

absl::StatusOr<std::shared_ptr<DiskFaults>> DiskFaultsOf(std::chrono::milliseconds sync_delay,
                                                         const std::filesystem::path& directory,
                                                         const std::string& file) {
  if (sync_delay.count() == 0 && file.empty()) return nullptr;
  std::vector<DiskRule> always;
  if (sync_delay.count() > 0) {
    DiskRule rule;
    rule.operation = DiskOperation::kSync;
    rule.action = DiskAction::kDelay;
    rule.delay = sync_delay;
    rule.text = "--test-sync-delay";
    always.push_back(std::move(rule));
  }
  return DiskFaults::Create(std::move(always), file.empty() ? std::filesystem::path() : directory / file);
}

}  // namespace
}  // namespace terrane

int main(int argc, char** argv) {
  using namespace terrane;
  server::CommonSettings common;
  server::GroupSettings group;
  shard::ShardServerOptions options;
  CommandLine line("terrane-shard", "One replica of one shard of Terrane", VersionLine("terrane-shard"));
  common.Define(&line);
  group.Define(&line);
  line.Add("name", &options.shard, "Name of the shard: s1");
  line.Require("name");
  line.Add("join", &options.join,
           "An empty directory is that of a new replica, which waits to be added (terrane shard replica add)");
  line.Add("metadata", &options.metadata, "Endpoints of the metadata service: host:port,...");
  line.Require("metadata");
  line.AddBytes("disk-reserve", &options.disk_reserve_bytes,
                "Below this much free space a leader hands on, or, where no replica has space, refuses writes; 0: 2 % "
                "of the disk, from 256MiB to 1GiB");
  line.AddBytes("checkpoint-rate", &options.checkpoint_bytes_per_second,
                "Bytes per second at which checkpoints are sent to other replicas; 0: no limit");
  line.AddBytes("cache", &options.cache_bytes, "Memory for blocks of data files");
  std::chrono::milliseconds sync_delay{0};
  std::string disk_faults;
  double clock_rate = 1;
  line.Add("test-sync-delay", &sync_delay, "For tests: each sync takes this much longer");
  line.Add("test-disk-faults", &disk_faults,
           "For tests: a file, seen from DIR, of rules by which the disk goes wrong; read again when it is replaced");
  line.Add("test-clock-rate", &clock_rate,
           "For tests: the clock of leases and elections runs at this rate of the machine's, from 0.5 to 2");
  if (std::optional<int> exit = line.Parse(argc, argv)) return *exit;

  std::optional<ClockAtRate> raft_clock;  // outlives the server
  return server::Serve("terrane-shard", common, [&]() -> absl::StatusOr<server::RunningServer> {
    TERRANE_RETURN_IF_ERROR(server::CheckEndpoints("--metadata", options.metadata));
    TERRANE_ASSIGN_OR_RETURN(options.members, group.Members());
    TERRANE_ASSIGN_OR_RETURN(options.disk_faults, DiskFaultsOf(sync_delay, common.directory, disk_faults));
    if (!(clock_rate >= 0.5 && clock_rate <= 2)) {
      return InvalidArgument("--test-clock-rate is ", clock_rate, ", not from 0.5 to 2");
    }
    if (clock_rate != 1) options.raft_clock = &raft_clock.emplace(clock_rate);
    options.directory = std::filesystem::path(common.directory) / "data";
    options.listen = common.listen;
    options.advertise = group.advertise;
    options.cluster = group.cluster;
    options.replica = ReplicaId(static_cast<uint64_t>(group.replica));
    options.tls = common.tls;
    options.insecure = common.insecure;
    options.timeouts = group.timeouts;
    TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<shard::ShardServer> server, shard::ShardServer::Start(std::move(options)));
    return server::RunningServer{server->address(), [server] { server->Stop(); }};
  });
}
