// What the group's configuration says of each member beside its id (raft::Configuration::about).
#pragma once

#include <cstdint>
#include <string>

#include "common/ids.h"
#include "raft/types.h"

namespace terrane::replication {

struct MemberRecord {
  std::string address;  // host:port of its RaftTransport service; empty: as the processes are told at their start
  // Of the directory that holds its data and its votes. 0: a founder, which has not been heard of yet. A replica votes
  // only if its own directory is the one that is named here (trap T51).
  uint64_t incarnation = 0;
  bool promote = false;  // a learner that the leader makes a voter as soon as its data is close

  friend bool operator==(const MemberRecord&, const MemberRecord&) = default;
};

// What `configuration` says of `id`; all empty if nothing, or if it cannot be read (of a newer version).
MemberRecord RecordOf(const raft::Configuration& configuration, raft::ReplicaId id);
// Takes note of it.
void SetRecord(raft::Configuration* configuration, raft::ReplicaId id, const MemberRecord& record);

}  // namespace terrane::replication
