#include "replication/member.h"

#include "terrane/v1/raft.pb.h"

namespace terrane::replication {

MemberRecord RecordOf(const raft::Configuration& configuration, raft::ReplicaId id) {
  const auto about = configuration.about.find(id);
  v1::RaftMember proto;
  if (about == configuration.about.end() || !proto.ParseFromString(about->second)) return {};
  return {.address = proto.address(), .incarnation = proto.incarnation(), .promote = proto.promote()};
}

void SetRecord(raft::Configuration* configuration, raft::ReplicaId id, const MemberRecord& record) {
  v1::RaftMember proto;
  proto.set_address(record.address);
  proto.set_incarnation(record.incarnation);
  proto.set_promote(record.promote);
  std::string bytes = proto.SerializeAsString();
  if (bytes.empty()) {
    configuration->about.erase(id);
  } else {
    configuration->about[id] = std::move(bytes);
  }
}

}  // namespace terrane::replication
