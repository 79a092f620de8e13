#include "metadata/shard_registry.h"

namespace terrane::metadata {

bool ShardRegistry::Heard(const v1::ShardHeartbeatRequest& heartbeat) {
  std::lock_guard lock(mutex_);
  Report& report = reports_[heartbeat.shard()];
  const bool changed = report.leader_endpoint != heartbeat.leader_endpoint();
  report.leader_endpoint = heartbeat.leader_endpoint();
  report.statistics = heartbeat.statistics();
  report.heard = clock_->Now();
  report.heard_wall = clock_->Wall();
  return changed;
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

void ShardRegistry::Clear() {
  std::lock_guard lock(mutex_);
  reports_.clear();
}

}  // namespace terrane::metadata
