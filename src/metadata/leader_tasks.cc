#include "metadata/leader_tasks.h"

#include "common/logging.h"
#include "common/random.h"

namespace terrane::metadata {

void LeaderTasks::OnApplied(const std::vector<Applied>& applied) {
  std::vector<uint64_t> migrations;
  bool collections = false;
  bool settings = false;
  for (const Applied& one : applied) {
    migrations.insert(migrations.end(), one.migrations.begin(), one.migrations.end());
    collections |= !one.collections.empty();
    settings |= one.settings;
  }
  if (collections || !migrations.empty()) backend_.Changed();
  if (!migrations.empty()) coordinator_.RecordsChanged(std::move(migrations));
  if (settings) coordinator_.SettingsChanged();
}

void LeaderTasks::OnLeaderStart(Term term) {
  LogInfo("metadata", "leads", {{"term", term}});
  // Shards report to who leads: this node listens from now on.
  node_.registry().Clear();
  if (node_.Read([](const State& state) { return state.cluster().empty(); })) {
    v1::MetadataCommand command;
    command.mutable_initialize_cluster()->set_cluster(cluster_.empty() ? NewUniqueId() : cluster_);
    node_.Propose(term, std::move(command), [](absl::StatusOr<v1::CommandResult> result) {
      if (!result.ok()) LogWarn("metadata", "the cluster got no id", {{"status", result.status()}});
    });
  }
  coordinator_.StartLeading(term);
  backend_.StartLeading(term);
}

void LeaderTasks::OnLeaderStop(Term term) {
  LogInfo("metadata", "leads no more", {{"term", term}});
  coordinator_.StopLeading();
  backend_.StopLeading();
  node_.registry().Clear();
  service_.CutOffWatchers();
}

}  // namespace terrane::metadata
