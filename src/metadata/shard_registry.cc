#include "metadata/shard_registry.h"

#include <algorithm>

namespace terrane::metadata {

bool ShardRegistry::Heard(const v1::ShardHeartbeatRequest& heartbeat) {
  std::lock_guard lock(mutex_);
  Report& report = reports_[heartbeat.shard()];
  // One that was paused and wakes up does not know yet that another one leads.
  if (heartbeat.statistics().term() < report.statistics.term()) return false;
  const bool changed = report.leader_endpoint != heartbeat.leader_endpoint();
  report.leader_endpoint = heartbeat.leader_endpoint();
  report.statistics = heartbeat.statistics();
  report.heard = clock_->Now();
  report.heard_wall = clock_->Wall();
  return changed;
}

void ShardRegistry::Registered(const std::string& shard) {
  std::lock_guard lock(mutex_);
  registered_[shard] = clock_->Now();
}

MonotonicTime ShardRegistry::SilentSince(const std::string& shard) const {
  std::lock_guard lock(mutex_);
  if (auto report = reports_.find(shard); report != reports_.end()) return report->second.heard;
  auto registered = registered_.find(shard);
  return registered == registered_.end() ? listening_since_ : std::max(registered->second, listening_since_);
}

std::optional<ShardRegistry::Report> ShardRegistry::Find(const std::string& shard) const {
  std::lock_guard lock(mutex_);
  auto found = reports_.find(shard);
  return found == reports_.end() ? std::nullopt : std::optional(found->second);
}

void ShardRegistry::Decorate(v1::Shard* shard) const {
  auto report = Find(shard->name());
  if (report) {
    shard->set_leader_endpoint(report->leader_endpoint);
    *shard->mutable_statistics() = report->statistics;
    shard->set_last_heartbeat_ms(report->heard_wall.count());
  } else if (shard->replicas_size() == 1) {
    // Whoever is alone leads.
    shard->set_leader_endpoint(shard->replicas(0).endpoint());
  }
}

void ShardRegistry::Describe(v1::Shard* shard) const {
  const auto silence =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_->Now() - SilentSince(shard->name()));
  Decorate(shard);
  if (silence < kShardSilence) return;
  shard->clear_leader_endpoint();
  for (v1::ReplicaStatus& replica : *shard->mutable_statistics()->mutable_replicas()) {
    replica.set_silent_ms(silence.count() + (replica.leader() ? 0 : replica.silent_ms()));
  }
}

void ShardRegistry::Clear() {
  std::lock_guard lock(mutex_);
  reports_.clear();
  registered_.clear();
  listening_since_ = clock_->Now();
}

}  // namespace terrane::metadata
