// What runs only on the leader: the coordinator of moves and the backend of collections. Wakes them when what they look
// after changes.
#pragma once

#include "metadata/collection_backend.h"
#include "metadata/metadata_service.h"
#include "metadata/node.h"
#include "migration/coordinator.h"

namespace terrane::metadata {

class LeaderTasks : public StateListener {
 public:
  // All outlive it. `cluster`: the id for a cluster that has none yet; empty: make one up.
  LeaderTasks(Node* node, migration::Coordinator* coordinator, CollectionBackend* backend, MetadataService* service,
              std::string cluster)
      : node_(*node),
        coordinator_(*coordinator),
        backend_(*backend),
        service_(*service),
        cluster_(std::move(cluster)) {}

  void OnApplied(const std::vector<Applied>& applied) override;
  void OnLeaderStart(Term term) override;
  void OnLeaderStop(Term term) override;

 private:
  Node& node_;
  migration::Coordinator& coordinator_;
  CollectionBackend& backend_;
  MetadataService& service_;
  const std::string cluster_;
};

}  // namespace terrane::metadata
