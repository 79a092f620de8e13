#include "shard/server.h"

#include <grpcpp/impl/service_type.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include "common/executor.h"
#include "common/logging.h"
#include "common/process.h"
#include "common/status.h"
#include "replication/file_system.h"
#include "replication/grpc_transport.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "shard/admin_service.h"
#include "shard/attendance.h"
#include "shard/document_service.h"
#include "shard/export_service.h"
#include "shard/file_service.h"
#include "shard/import_manager.h"
#include "shard/metadata_link.h"
#include "shard/move_service.h"
#include "shard/outcome_watch.h"
#include "shard/periodic.h"
#include "shard/rejoin.h"
#include "shard/replica_changes.h"
#include "shard/retention.h"
#include "shard/segment_files.h"
#include "shard/shard_host.h"
#include "shard/space_watch.h"
#include "shard/splitter.h"
#include "shard/statistics.h"
#include "storage/fault_injection.h"
#include "storage/write_watch.h"

namespace terrane::shard {
namespace {

constexpr int kStepWorkers = 8;  // completions of moves that wait for their K, and what looks at something
constexpr int kSlowWorkers = 8;  // splits and audits, which read whole chunks
constexpr std::chrono::seconds kGrace{1};
constexpr std::chrono::seconds kExpiryPerRound{2};
constexpr std::chrono::seconds kRetentionInterval{5};
constexpr std::chrono::milliseconds kStoreWatchInterval{100};
constexpr std::chrono::seconds kCutOff{2};  // a follower that has not heard its leader for so long serves no targets

absl::Status Check(const ShardServerOptions& options) {
  if (options.shard.empty()) return InvalidArgument("the shard has no name (--name s1)");
  if (options.metadata.empty()) {
    return InvalidArgument("no endpoint of the metadata service is given (--metadata host:port,...)");
  }
  if (options.replica.value() == 0) return InvalidArgument("replicas are counted from 1");
  return rpc::CheckListenAddress(options.listen, options.tls, options.insecure);
}

class ShardServerImpl final : public ShardServer {
 public:
  explicit ShardServerImpl(ShardServerOptions options)
      : options_(std::move(options)),
        steps_("shard-step", kStepWorkers),
        slow_("shard-slow", kSlowWorkers),
        pool_(rpc::ChannelOptions{.tls = options_.tls}),
        metadata_(MetadataLink::Connect(options_.metadata, options_.tls)),
        outcome_metadata_(MetadataLink::Connect(options_.metadata, options_.tls)) {}
  ~ShardServerImpl() override { Stop(); }

  absl::Status Start() {
    TERRANE_RETURN_IF_ERROR(OpenHost());
    MakeFiles();
    MakeImports();
    WatchSpace();
    TERRANE_ASSIGN_OR_RETURN(const std::string cluster, KnownCluster());
    const bool grouped = options_.members.size() > 1 || options_.join;
    if (grouped && cluster.empty()) return InvalidArgument("a group of several replicas needs --cluster");
    if (!cluster.empty()) {
      transport_ = replication::MakeGrpcTransport(
          {.identity = IdentityIn(cluster),
           .members = options_.members,
           .tls = options_.tls,
           .checkpoint_bytes_per_second = static_cast<uint64_t>(options_.checkpoint_bytes_per_second)});
    }
    // A group of one tells others its address only after it is bound, so the log can be opened first: a directory that
    // is not ours is refused before anything is served.
    if (!cluster.empty() && !grouped) TERRANE_RETURN_IF_ERROR(OpenLog(cluster));
    TERRANE_RETURN_IF_ERROR(Listen());
    if (!cluster.empty() && grouped) TERRANE_RETURN_IF_ERROR(OpenLog(cluster));
    StartBackground(cluster);
    return absl::OkStatus();
  }

  std::string address() const override { return server_->address(); }

  void Stop() override {
    std::lock_guard lock(stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    {
      std::lock_guard damage(damage_mutex_);
      ending_ = true;
    }
    if (host_ && host_->proposer().log() != nullptr) HandOn(*host_->proposer().log());
    if (store_watch_) store_watch_->Stop();
    if (retention_loop_) retention_loop_->Stop();
    if (outcomes_) outcomes_->Stop();
    if (attendance_) attendance_->Stop();
    if (space_peers_) space_peers_->Stop();
    if (space_) space_->Stop();
    if (imports_) imports_->Stop();
    if (exports_) exports_->Stop();
    if (files_) files_->Stop();
    // Handlers that wait for the log are answered when it stops, so the server waits for them meanwhile.
    std::thread refuse([this] {
      if (server_) server_->Shutdown(kGrace);
    });
    if (host_) host_->Stop();
    steps_.Stop();
    slow_.Stop();
    refuse.join();
  }

 private:
  std::filesystem::path ClusterFile() const { return options_.directory / "cluster"; }

  // The id that was given, or that the metadata service told at an earlier start; "": neither.
  absl::StatusOr<std::string> KnownCluster() const {
    if (!options_.cluster.empty()) return options_.cluster;
    std::ifstream file(ClusterFile());
    std::string cluster;
    file >> cluster;
    return cluster;
  }

  replication::Identity IdentityIn(const std::string& cluster) const {
    return {.cluster = cluster, .group = options_.shard, .replica = options_.replica};
  }

  std::string LeaderEndpoint() const {
    const replication::ReplicatedLog* log = host_ ? host_->proposer().log() : nullptr;
    if (log == nullptr) return "";
    for (const replication::MemberStatus& member : log->Members()) {
      if (member.leads && member.replica != options_.replica) return member.address;
    }
    return "";
  }

  absl::Status OpenHost() {
    std::error_code error;
    std::filesystem::create_directories(options_.directory, error);
    if (error) return Unavailable("cannot make the directory ", options_.directory.string(), ": ", error.message());
    ShardHost::Options host;
    host.shard = options_.shard;
    host.store.directory = options_.directory / "store";
    host.store.block_cache_bytes = static_cast<uint64_t>(options_.cache_bytes);
    host.store.disk_reserve_bytes = static_cast<uint64_t>(options_.disk_reserve_bytes);
    if (options_.disk_faults) host.store.faults = storage::MakeDiskFaultStoreDisk(options_.disk_faults);
    if (options_.on_rejoin) host.store.on_damage = [this](const absl::Status& why) { return TakeOverDamage(why); };
    host.leader_endpoint = [this] { return LeaderEndpoint(); };
    host.on_serving = [this](Term) {
      if (Attendance* attendance = running_attendance_.load()) attendance->Poke();
    };
    host.on_leader_stop = [this](Term) {
      if (imports_) imports_->LeaderStopped();
    };
    host.provide_files = [this](CopyId copy, std::span<const storage::SegmentFile> files) {
      return files_->Provide(copy, files);
    };
    TERRANE_ASSIGN_OR_RETURN(host_, ShardHost::Open(std::move(host)));
    host_->proposer().SetAdmitted(false);
    host_->mutable_core()->ask_metadata = [this] {
      if (OutcomeWatch* outcomes = running_outcomes_.load()) outcomes->Poke();
    };
    return absl::OkStatus();
  }

  // The other replicas of this shard, as configured now.
  std::vector<PeerReplica> Others() const {
    std::vector<PeerReplica> others;
    const replication::ReplicatedLog* log = host_->proposer().log();
    if (log == nullptr) {
      for (const replication::Member& member : options_.members) others.push_back({member.replica, member.address});
    } else {
      for (const replication::MemberStatus& member : log->Members()) {
        others.push_back({member.replica, member.address, member.voter});
      }
    }
    std::erase_if(others, [this](const PeerReplica& peer) { return peer.replica == options_.replica; });
    return others;
  }

  // Whether targets of moves should read here rather than at the leader.
  absl::Status Follows() const {
    const replication::ReplicatedLog* log = host_->proposer().log();
    if (log == nullptr) return Unavailable("this replica has just started");
    // Passing as well: somebody else leads soon, or the target learns who does.
    if (log->Leader().is_leader) return Unavailable("this replica leads");
    const std::optional<MonotonicTime> heard = log->LeaderContact();
    if (heard && Clock::System()->Now() - *heard < kCutOff) return absl::OkStatus();
    return Unavailable("this replica has not heard its leader of late");
  }
  Position Committed() const {
    const replication::ReplicatedLog* log = host_->proposer().log();
    return log == nullptr ? Position(0) : log->Committed();
  }

  std::string OwnEndpoint() const {
    for (const replication::Member& member : options_.members) {
      if (member.replica == options_.replica) return member.address;
    }
    return options_.advertise.empty() ? server_->address() : options_.advertise;
  }

  void MakeFiles() {
    SegmentFiles::Options options;
    options.store = &host_->store();
    options.peers = MakeGrpcPeerReplicas(&pool_, [this] { return Others(); });
    options.endpoint = [this] { return OwnEndpoint(); };
    options.ownership = [this] { return host_->applier().View(); };
    options.log_first = [this] {
      const replication::ReplicatedLog* log = host_->proposer().log();
      return log == nullptr ? Position(0) : log->Statistics().first;
    };
    options.hand_on = [this] {
      replication::ReplicatedLog* log = host_->proposer().log();
      if (log == nullptr || !log->Leader().is_leader) return;
      log->TransferLeadership().IgnoreError();  // tried again with the next round
    };
    files_ = std::make_unique<SegmentFiles>(std::move(options));
  }

  void MakeImports() {
    ImportManager::Options options;
    options.host.store = &host_->store();
    options.host.ownership = [this] { return host_->applier().View(); };
    options.host.propose = [this](v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
      host_->proposer().Propose(std::move(entry), std::move(done));
    };
    options.host.hold = [this](const MoveRef& move, CopyId copy, std::span<const storage::SegmentFile> files,
                               const std::function<bool()>& cancelled) {
      return files_->HoldOnMajority(move, copy, files, cancelled);
    };
    options.host.peers = [this] { return MakeGrpcPeerReplicas(&pool_, [this] { return Others(); }); };
    options.make_source = [this](std::vector<std::string> endpoints) {
      return MakeGrpcImportSource(&pool_, std::move(endpoints));
    };
    options.serving = [this] { return host_->proposer().ServingTerm().status(); };
    imports_ = std::make_unique<ImportManager>(std::move(options));
  }

  void WatchSpace() {
    space_peers_ = MakeGrpcPeerReplicas(&pool_, [this] { return Others(); });
    SpaceWatch::Options options;
    options.leads = [this] { return host_->proposer().ServingTerm().ok(); };
    options.disk = [this] { return host_->store().Disk(); };
    options.others = [this] { return space_peers_->Others(); };
    options.free_bytes = [this](const PeerReplica& peer) { return space_peers_->FreeBytes(peer); };
    options.hand_on = [this](ReplicaId to) { return host_->proposer().log()->TransferLeadership(to); };
    space_ = std::make_unique<SpaceWatch>(std::move(options));
    host_->mutable_core()->hand_on_for_space = [this](uint64_t needed) { return space_->MayHandOn(needed); };
  }

  absl::Status OpenLog(const std::string& cluster) {
    replication::ReplicatedLog::Options log;
    log.directory = options_.directory / "raft";
    log.identity = IdentityIn(cluster);
    log.members = options_.members;
    log.join = options_.join;
    log.on_rejoin = options_.on_rejoin;
    if (log.members.empty()) {
      log.members.push_back({options_.replica, options_.advertise.empty() ? options_.listen : options_.advertise});
    }
    log.timeouts = options_.timeouts;
    log.clock = options_.raft_clock;
    log.transport = transport_.get();
    if (options_.disk_faults) {
      faulty_files_ = replication::MakeDiskFaultFileSystem(replication::FileSystem::System(), options_.disk_faults);
      log.file_system = faulty_files_.get();
    }
    TERRANE_RETURN_IF_ERROR(host_->OpenLog(std::move(log)));
    // A group of several knows by itself when a directory is not the one that it should be; the only voter asks first.
    const Membership membership = MembersOf(*host_->proposer().log());
    if (!IsOnlyVoter(membership, options_.replica)) host_->proposer().SetAdmitted(true);
    absl::Status met;
    {
      std::lock_guard lock(damage_mutex_);
      log_opened_ = true;
      met = std::exchange(met_early_, absl::OkStatus());
    }
    if (!met.ok() && !TakeOverDamage(met)) EndRefused("the store is damaged, and no other replica has its data", met);
    return absl::OkStatus();
  }

  // Damage that the store meets while running (storage::StoreOptions::on_damage): where another voter has the data,
  // this replica begins again from it. On any thread.
  bool TakeOverDamage(const absl::Status& why) {
    {
      std::lock_guard lock(damage_mutex_);
      if (ending_) return true;
      if (!log_opened_) {
        // Who else there is, the log knows.
        met_early_.Update(why);
        return true;
      }
      bool others = false;
      for (const replication::MemberStatus& member : host_->proposer().log()->Members()) {
        others = others || (member.voter && member.replica != options_.replica);
      }
      if (!others) return false;
    }
    options_.on_rejoin(why);
    return true;
  }

  absl::Status Listen() {
    statistics_ = std::make_unique<StatisticsCollector>(&host_->core());
    splitter_ = std::make_unique<Splitter>(&host_->core());
    exports_ = ExportService::Make({.store = &host_->store(),
                                    .ownership = [this] { return host_->applier().View(); },
                                    .follows = [this] { return Follows(); },
                                    .committed = [this] { return Committed(); }});
    services_.push_back(MakeDocumentService(&host_->core(), &host_->reads(), &host_->writes()));
    services_.push_back(MakeMoveService(&host_->core(), splitter_.get(), imports_.get(), &steps_, &slow_));
    services_.push_back(
        MakeAdminService(&host_->core(), statistics_.get(), &steps_, &slow_, [this] { return exports_->Counters(); }));
    services_.push_back(MakeFileService(files_.get()));
    std::vector<grpc::Service*> services;
    for (const auto& service : services_) services.push_back(service.get());
    services.push_back(exports_->service());
    if (transport_) services.push_back(transport_->service());
    TERRANE_ASSIGN_OR_RETURN(
        server_,
        rpc::Server::Start({.address = options_.listen, .tls = options_.tls, .insecure = options_.insecure}, services));
    return absl::OkStatus();
  }

  void StartBackground(const std::string& cluster) {
    Attendance::Options options;
    options.endpoint = options_.advertise.empty() ? server_->address() : options_.advertise;
    options.registration.set_cluster(cluster);
    options.registration.set_shard(options_.shard);
    options.registration.set_replica_id(options_.replica.value());
    options.replica = options_.replica;
    if (options_.join) {
      // Who it is to the group, the group's leader says.
    } else if (options_.members.size() > 1) {
      for (const replication::Member& member : options_.members) AddReplica(member.replica, member.address, &options);
    } else {
      AddReplica(options_.replica, options.endpoint, &options);
    }
    options.on_cluster = [this](const std::string& told) { OpenFirstLog(told); };
    options.on_admitted = [this] { host_->proposer().SetAdmitted(true); };
    options.on_refused = [](const absl::Status& why) { EndRefused("the metadata service refuses this replica", why); };
    outcomes_ = std::make_unique<OutcomeWatch>(&host_->core(), outcome_metadata_.get());
    running_outcomes_ = outcomes_.get();
    attendance_ = std::make_unique<Attendance>(&host_->core(), metadata_.get(), statistics_.get(), std::move(options));
    running_attendance_ = attendance_.get();
    retention_ = std::make_unique<Retention>(&host_->core(), RetentionOptions());
    store_watch_ = std::make_unique<Periodic>(kStoreWatchInterval, [this] { HandOnIfTheStoreHangs(); });
    retention_loop_ = std::make_unique<Periodic>(kRetentionInterval, [this] {
      retention_->TrimOplog();
      ExpireRetries();
      files_->Tidy();
    });
  }

  // Some steps, so that it keeps up with any rate of writes; not all of the time, for every step reads.
  void ExpireRetries() {
    const MonotonicTime end = Clock::System()->Now() + kExpiryPerRound;
    do {
      const std::optional<WallTime> now = attendance_->TrustedWall();
      if (!now) return;
      retention_->ExpireRetries(*now);
    } while (retention_->HasMoreToExpire() && Clock::System()->Now() < end && !Ending());
  }
  bool Ending() {
    std::lock_guard lock(damage_mutex_);
    return ending_;
  }

  // While the apply thread hangs in the store nothing is acknowledged, so nothing is proposed, and the log's own watch
  // has nothing to see: this leader would keep its office for as long as its heartbeats go on (trap T56).
  void HandOnIfTheStoreHangs() {
    replication::ReplicatedLog* log = host_->proposer().log();
    const MonotonicTime began = storage::WriteUnderWaySince(host_->store());
    if (log == nullptr || began.count() == 0) return;
    // Twice the log's limit: RocksDB may hold a write back for a moment.
    const MonotonicTime under_way = Clock::System()->Now() - began;
    if (under_way < 2 * options_.timeouts.slow_disk || !log->Leader().is_leader) return;
    LogWarn("shard", "a write to the store has been under way for too long: hands on leadership",
            {{"ms", std::chrono::duration_cast<std::chrono::milliseconds>(under_way).count()}});
    log->TransferLeadership().IgnoreError();  // tried again with the next round
  }

  static void AddReplica(ReplicaId replica, const std::string& endpoint, Attendance::Options* options) {
    v1::ShardReplica* added = options->registration.add_replicas();
    added->set_replica_id(replica.value());
    added->set_endpoint(endpoint);
  }

  // The first start of a directory: now it is known whose it is.
  void OpenFirstLog(const std::string& cluster) {
    absl::Status status = WriteFileAtomically(ClusterFile(), cluster + "\n");
    if (status.ok()) status = OpenLog(cluster);
    if (!status.ok()) EndRefused("the log cannot be opened", status);
  }

  // As a refusal at the start would: only that the metadata service had to be asked first.
  [[noreturn]] static void EndRefused(std::string_view what, const absl::Status& why) {
    LogError("shard", what, {{"status", why}});
    FlushLogs();
    std::cerr << "error: " << MessageOf(why) << std::endl;
    std::_Exit(ExitCodeFor(why));
  }

  const ShardServerOptions options_;
  Executor steps_;
  Executor slow_;
  rpc::ChannelPool pool_;
  std::unique_ptr<MetadataLink> metadata_;
  std::unique_ptr<MetadataLink> outcome_metadata_;  // a heartbeat under way does not delay a question
  std::unique_ptr<replication::GrpcTransport> transport_;
  std::unique_ptr<SegmentFiles> files_;
  std::unique_ptr<ImportManager> imports_;
  std::unique_ptr<replication::FileSystem> faulty_files_;  // the log's, if they are to go wrong
  std::unique_ptr<ShardHost> host_;
  std::unique_ptr<PeerReplicas> space_peers_;
  std::unique_ptr<SpaceWatch> space_;  // asks the host
  std::unique_ptr<StatisticsCollector> statistics_;
  std::unique_ptr<Splitter> splitter_;
  std::unique_ptr<ExportService> exports_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<OutcomeWatch> outcomes_;
  std::unique_ptr<Attendance> attendance_;
  // Once they are made; for the apply thread, and for requests, which come as soon as the server listens.
  std::atomic<Attendance*> running_attendance_{nullptr};
  std::atomic<OutcomeWatch*> running_outcomes_{nullptr};
  std::unique_ptr<Retention> retention_;
  std::unique_ptr<Periodic> retention_loop_;
  std::unique_ptr<Periodic> store_watch_;
  std::mutex stop_mutex_;
  bool stopped_ = false;
  std::mutex damage_mutex_;
  bool log_opened_ = false;  // the log may be asked; with the next two under damage_mutex_
  bool ending_ = false;      // nothing may be asked any more
  absl::Status met_early_;   // damage from before the log was opened
};

}  // namespace

absl::StatusOr<std::unique_ptr<ShardServer>> ShardServer::Start(ShardServerOptions options) {
  TERRANE_RETURN_IF_ERROR(Check(options));
  const auto start = [](ShardServerOptions of_life) -> absl::StatusOr<std::unique_ptr<ShardServer>> {
    auto server = std::make_unique<ShardServerImpl>(std::move(of_life));
    TERRANE_RETURN_IF_ERROR(server->Start());
    return server;
  };
  const bool grouped = options.join || options.members.size() > 1;
  return grouped ? StartRejoining(std::move(options), start) : start(std::move(options));
}

}  // namespace terrane::shard
