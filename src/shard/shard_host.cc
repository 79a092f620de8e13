#include "shard/shard_host.h"

#include <utility>

#include "common/status.h"

namespace terrane::shard {

ShardHost::ShardHost(Options options) : options_(std::move(options)), hybrid_(options_.clock) {}

absl::StatusOr<std::unique_ptr<ShardHost>> ShardHost::Open(Options options) {
  std::unique_ptr<ShardHost> host(new ShardHost(std::move(options)));
  TERRANE_ASSIGN_OR_RETURN(host->store_, storage::Store::Open(host->options_.store));
  Applier::Options applier;
  applier.shard = host->options_.shard;
  applier.on_serving = host->options_.on_serving;
  applier.on_leader_stop = host->options_.on_leader_stop;
  applier.provide_files = host->options_.provide_files;
  TERRANE_ASSIGN_OR_RETURN(host->applier_, Applier::Open(std::move(applier), host->store_.get(), &host->hybrid_));
  host->proposer_ = std::make_unique<Proposer>(&host->hybrid_, host->applier_.get(), host->options_.leader_endpoint);
  host->executor_ = std::make_unique<Executor>("shard", host->options_.workers);
  host->latches_ = std::make_unique<Latches>(host->executor_.get());
  Core& core = host->core_;
  core.shard = host->options_.shard;
  core.clock = host->options_.clock;
  core.store = host->store_.get();
  core.applier = host->applier_.get();
  core.proposer = host->proposer_.get();
  core.latches = host->latches_.get();
  core.early_writes = &host->early_writes_;
  core.executor = host->executor_.get();
  core.counts = &host->counts_;
  core.retry_lifetime = host->options_.retry_lifetime;
  host->reads_ = std::make_unique<ReadPath>(&core);
  host->writes_ = std::make_unique<WritePath>(&core);
  return host;
}

absl::Status ShardHost::OpenLog(replication::ReplicatedLog::Options options) {
  TERRANE_ASSIGN_OR_RETURN(
      log_, replication::ReplicatedLog::Open(std::move(options), applier_.get(),
                                             [this](replication::ReplicatedLog* log) { proposer_->SetLog(log); }));
  return absl::OkStatus();
}

void ShardHost::Stop() {
  store_->Interrupt();
  // What is queued runs to its end or its proposal, then the log answers the proposals.
  executor_->Stop();
  if (log_) log_->Stop();
}

ShardHost::~ShardHost() {
  if (executor_) Stop();
}

}  // namespace terrane::shard
