// Replica: who belongs to the group, and whether the votes of this directory count.
//
// The configuration names the directory (incarnation) of each member. A replica whose directory was lost or set aside
// comes with another one, and without the promises that its votes and answers were: the leader first makes it a learner
// under the new incarnation, which takes a quorum of the others, and makes it a voter again when its data is close. So
// nobody ever counts a promise that was forgotten (trap T51).
#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/status.h"
#include "replication/replica.h"

namespace terrane::replication {
namespace {

void Insert(std::vector<ReplicaId>* list, ReplicaId id) {
  list->insert(std::lower_bound(list->begin(), list->end(), id), id);
}

}  // namespace

// --- Who ---

bool Replica::AloneLocked() const {
  const raft::Configuration& configuration = core_.configuration();
  return configuration.voters.size() == 1 && configuration.voters.front() == options_.identity.replica;
}

std::string Replica::AddressLocked(ReplicaId id) const {
  for (const Member& member : options_.members) {
    if (member.replica == id && !member.address.empty()) return member.address;
  }
  return RecordOf(core_.configuration(), id).address;
}

std::vector<ReplicaId> Replica::OthersLocked() const {
  std::set<ReplicaId> others(core_.configuration().voters.begin(), core_.configuration().voters.end());
  others.insert(core_.configuration().learners.begin(), core_.configuration().learners.end());
  for (const Member& member : options_.members) others.insert(member.replica);
  others.erase(options_.identity.replica);
  return {others.begin(), others.end()};
}

std::vector<MemberStatus> Replica::Members() const {
  std::lock_guard lock(mutex_);
  const raft::Configuration& configuration = core_.configuration();
  const MonotonicTime now = Now();
  const std::vector<raft::PeerStatus> peers = core_.peers();
  std::vector<MemberStatus> members;
  for (const std::vector<ReplicaId>* list : {&configuration.voters, &configuration.learners}) {
    for (ReplicaId id : *list) {
      MemberStatus member;
      member.replica = id;
      member.address = AddressLocked(id);
      member.voter = configuration.IsVoter(id);
      member.leads = core_.leader() == id;
      if (id == options_.identity.replica) {
        member.match = core_.synced();
        member.applied = core_.applied();
      }
      for (const raft::PeerStatus& peer : peers) {
        if (peer.id != id) continue;
        member.match = peer.match;
        member.applied = peer.applied;
        member.fetching = peer.state == raft::ProgressState::kSnapshot;
        member.silent = std::chrono::duration_cast<std::chrono::milliseconds>(now - peer.heard_at);
      }
      members.push_back(std::move(member));
    }
  }
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.replica < b.replica; });
  return members;
}

Position Replica::ConfigurationPosition() const {
  std::lock_guard lock(mutex_);
  return core_.configuration_index() <= core_.commit() ? core_.configuration_index() : Position();
}

std::optional<MonotonicTime> Replica::LeaderContact() const {
  std::lock_guard lock(mutex_);
  return fresh_as_of_;
}

// --- Directories and votes ---

// True: the configuration does not name this directory, and this is not a founder whom it need not name.
bool Replica::JoiningLocked() const {
  const MemberRecord record = RecordOf(core_.configuration(), options_.identity.replica);
  if (record.incarnation != 0) return record.incarnation != start_.incarnation;
  return !directory_->founder();
}

void Replica::AllowVotingLocked() {
  // A replica hears a peer that has heard of this very start before it votes: an old copy of the disk must not.
  core_.AllowVoting(!JoiningLocked() && (heard_of_ || AloneLocked()));
}

void Replica::AdoptConfigurationLocked() {
  const raft::Configuration& configuration = core_.configuration();
  for (const std::vector<ReplicaId>* list : {&configuration.voters, &configuration.learners}) {
    for (ReplicaId id : *list) {
      const MemberRecord record = RecordOf(configuration, id);
      StartId& heard = heard_[id];
      if (record.incarnation != 0 && heard.incarnation != record.incarnation) heard = {record.incarnation, 0};
      auto joining = joining_.find(id);
      if (joining != joining_.end() && joining->second.start.incarnation == record.incarnation) joining_.erase(joining);
      if (id != options_.identity.replica && options_.transport != nullptr) {
        if (std::string address = AddressLocked(id); !address.empty()) options_.transport->SetMember({id, address});
      }
    }
  }
  AllowVotingLocked();
}

Replica::Sender Replica::SenderLocked(const PeerBatch& batch) const {
  const MemberRecord record = RecordOf(core_.configuration(), batch.from);
  if (record.incarnation == batch.start.incarnation) return Sender::kMember;
  if (batch.joining) return Sender::kJoining;
  // A founder that was not named yet: Hear() knows whether it is the first.
  return record.incarnation == 0 ? Sender::kMember : Sender::kOtherDirectory;
}

void Replica::RefuseLocked(const PeerBatch& batch, std::string_view why) {
  if (complained_.insert(batch.from).second) {
    LogWarn("replication", "refuses traffic of a peer",
            {{"group", options_.identity.group},
             {"replica", options_.identity.replica},
             {"from", batch.from},
             {"why", why}});
  }
  // It learns from what we acknowledge.
  PeerBatch answer = MakeBatchLocked(batch.from);
  const MemberRecord record = RecordOf(core_.configuration(), batch.from);
  const bool replaced = record.incarnation != 0 && record.incarnation != batch.start.incarnation;
  if (replaced && core_.configuration_index() <= core_.commit()) {
    answer.acknowledged = {record.incarnation, 0};
    answer.replaced_at = core_.configuration_index();
  }
  options_.transport->Send(std::move(answer), true);
}

// No vote and no answer of another directory counts. But whoever leads a term was elected by a majority that knows its
// directory, and nobody else leads that term: what only a leader says is true whichever directory we know it by. A
// replica that was away while the leader's directory was replaced has nobody else to hear of it from.
void Replica::FollowOtherDirectoryLocked(PeerBatch batch) {
  std::erase_if(batch.messages, [](const raft::Message& message) { return !message.IsOfLeader(); });
  // Before anything else, what we acknowledge: a founder's directory that is the wrong one does not go on.
  if (heard_[batch.from] != batch.start) RefuseLocked(batch, "the group knew it by another directory");
  if (batch.messages.empty()) return;
  const MonotonicTime now = Now();
  const Term term = batch.messages.back().term;
  for (raft::Message& message : batch.messages) StepLocked(std::move(message), now);
  // In memory only, so that it takes our answers: the configuration that names it is in what it sends.
  if (term == core_.term() && core_.leader() == batch.from) heard_[batch.from] = batch.start;
  DriveLocked();
}

void Replica::Rejoin(absl::Status why) {
  bool alone = false;
  {
    std::lock_guard lock(mutex_);
    alone = AloneLocked();
  }
  if (!options_.on_rejoin || alone) return Fatal(std::move(why));
  if (dead_.exchange(true)) return;
  apply_.StopApplying();
  LogError("replication", "this directory cannot go on; the replica begins again from its peers",
           {{"group", options_.identity.group}, {"replica", options_.identity.replica}, {"status", why}});
  {
    std::lock_guard lock(mutex_);
    FailEverythingLocked(Unavailable("this replica begins again from its peers: ", MessageOf(why)));
  }
  options_.on_rejoin(why);
}

// --- Changes ---

bool Replica::EnoughAnswerLocked(const std::vector<ReplicaId>& voters, MonotonicTime now, bool or_may) const {
  size_t answering = 0;
  const std::vector<raft::PeerStatus> peers = core_.peers();
  for (ReplicaId id : voters) {
    const bool answers =
        id == options_.identity.replica || std::any_of(peers.begin(), peers.end(), [&](const raft::PeerStatus& peer) {
          return peer.id == id && (peer.heard || or_may) && now - peer.heard_at < options_.timeouts.election_max;
        });
    answering += answers ? 1 : 0;
  }
  return answering >= voters.size() / 2 + 1;
}

absl::Status Replica::ProposeMembersLocked(const raft::Configuration& next, MonotonicTime now, Position* position) {
  if (const size_t bytes = raft::EncodeConfiguration(next).size(); bytes > kMaxConfigurationBytes) {
    return FailedPrecondition("the members with their addresses take ", bytes, " bytes; the limit is ",
                              kMaxConfigurationBytes, ": use shorter addresses");
  }
  const raft::ProposeResult result = core_.ProposeConfiguration(core_.term(), next, now);
  switch (result.refusal) {
    case raft::Refusal::kNone:
      *position = result.first;
      return absl::OkStatus();
    case raft::Refusal::kChangeUnderWay:
      return FailedPrecondition("another change of the members of ", options_.identity.group, " is under way");
    case raft::Refusal::kLearnerBehind:
      return FailedPrecondition("the data of the learner is not close to the leader's yet");
    case raft::Refusal::kNotOneChange:
      return FailedPrecondition("this is not one change of one member");
    default:
      return Unavailable("this replica does not lead or is not ready: ", raft::ToString(result.refusal));
  }
}

// kOk with *next unchanged: it is so already.
absl::Status Replica::CheckMemberChangeLocked(MemberChange change, ReplicaId replica, const std::string& address,
                                              raft::Configuration* next, MonotonicTime now) const {
  const raft::Configuration& current = core_.configuration();
  const std::string name = StrCat("replica ", replica.value(), " of ", options_.identity.group);
  switch (change) {
    case MemberChange::kAdd:
      if (replica == ReplicaId()) return InvalidArgument("replicas are counted from 1");
      if (current.Contains(replica)) {
        const std::string known = AddressLocked(replica);
        if (!address.empty() && address != known) {
          return FailedPrecondition(name, " is a member already, at ", known, ", not at ", address);
        }
        return absl::OkStatus();
      }
      if (address.empty()) return InvalidArgument("the address of ", name, " is missing");
      Insert(&next->learners, replica);
      SetRecord(next, replica, {.address = address, .incarnation = 0, .promote = true});
      return absl::OkStatus();
    case MemberChange::kPromote:
      if (current.IsVoter(replica)) return absl::OkStatus();
      if (!current.IsLearner(replica)) return NotFound(name, " is no member");
      std::erase(next->learners, replica);
      Insert(&next->voters, replica);
      break;
    case MemberChange::kRemove:
      if (!current.Contains(replica)) return absl::OkStatus();
      std::erase(next->learners, replica);
      std::erase(next->voters, replica);
      next->about.erase(replica);
      if (next->voters.empty()) return FailedPrecondition(name, " is the only voter");
      break;
  }
  if (next->voters != current.voters && !EnoughAnswerLocked(next->voters, now)) {
    if (EnoughAnswerLocked(next->voters, now, true)) {
      return Unavailable("this replica has just begun to lead ", options_.identity.group,
                         " and has not heard enough of the others yet: try again");
    }
    return FailedPrecondition("without ", name, " as it is there would be ", next->voters.size(),
                              " voters of which too few answer: the group would lose its quorum");
  }
  return absl::OkStatus();
}

void Replica::ChangeMember(MemberChange change, ReplicaId replica, const std::string& address,
                           std::function<void(absl::Status)> done) {
  std::unique_lock lock(mutex_);
  if (finished_) {
    lock.unlock();
    return done(Unavailable("the log of this replica has stopped"));
  }
  absl::Status status;
  const auto answer = [&] { apply_.PushTask([done = std::move(done), status] { done(status); }); };
  if (closed_ || dead_ || !core_.IsLeader() || !core_.ReadyToServe()) {
    status = Unavailable("this replica does not lead ", options_.identity.group);
    return answer();
  }
  if (options_.transport == nullptr && change == MemberChange::kAdd) {
    status = FailedPrecondition("this replica was started without a way to talk to others (--cluster is missing)");
    return answer();
  }
  if (core_.configuration_index() > core_.commit()) {
    // One at a time: after the one that is under way, perhaps one that the leader makes by itself.
    apply_.WhenApplied(core_.configuration_index(), [this, change, replica, address, done = std::move(done)]() mutable {
      ChangeMember(change, replica, address, std::move(done));
    });
    return;
  }
  const MonotonicTime now = Now();
  raft::Configuration next = core_.configuration();
  status = CheckMemberChangeLocked(change, replica, address, &next, now);
  if (!status.ok()) return answer();
  if (next == core_.configuration()) {
    return answer();
  }
  Position position;
  status = ProposeMembersLocked(next, now, &position);
  if (!status.ok()) return answer();
  LogInfo("replication", "changes the members",
          {{"group", options_.identity.group},
           {"change", change == MemberChange::kAdd       ? "add"
                      : change == MemberChange::kPromote ? "promote"
                                                         : "remove"},
           {"member", replica},
           {"position", position}});
  pending_.push_back({position, core_.term(),
                      [done = std::move(done)](ProposeResult result) {
                        if (result.outcome == ProposeOutcome::kApplied) return done(absl::OkStatus());
                        done(Unavailable("leadership was lost before the change was committed; it may still come"));
                      },
                      nullptr});
  DriveLocked();
}

// --- What a leader does by itself ---

bool Replica::TakeBackLocked(ReplicaId id, const StartId& start, MonotonicTime now) {
  raft::Configuration next = core_.configuration();
  if (!next.Contains(id)) return false;
  if (next.IsVoter(id)) {
    std::erase(next.voters, id);
    Insert(&next.learners, id);
    if (next.voters.empty() || !EnoughAnswerLocked(next.voters, now)) return false;
  }
  SetRecord(&next, id, {.address = RecordOf(next, id).address, .incarnation = start.incarnation, .promote = true});
  Position position;
  if (!ProposeMembersLocked(next, now, &position).ok()) return false;
  LogInfo("replication", "takes in a member with a new directory, as a learner",
          {{"group", options_.identity.group}, {"member", id}, {"position", position}});
  return true;
}

void Replica::MaintainMembersLocked(MonotonicTime now) {
  if (!core_.IsLeader() || !core_.ReadyToServe() || core_.configuration_index() > core_.commit()) return;
  std::erase_if(joining_,
                [&](const auto& joiner) { return now - joiner.second.greeted_at >= options_.timeouts.election_max; });
  for (const auto& [id, joiner] : joining_) {
    if (TakeBackLocked(id, joiner.start, now)) return;
  }
  const raft::Configuration& current = core_.configuration();
  for (ReplicaId id : current.learners) {
    if (!RecordOf(current, id).promote) continue;
    raft::Configuration next = current;
    std::erase(next.learners, id);
    Insert(&next.voters, id);
    Position position;
    if (!EnoughAnswerLocked(next.voters, now) || !ProposeMembersLocked(next, now, &position).ok()) continue;
    LogInfo("replication", "makes a learner a voter",
            {{"group", options_.identity.group}, {"member", id}, {"position", position}});
    return;
  }
  // Founders are named when they have been heard of.
  if (options_.members.size() == 1 && current.voters.size() + current.learners.size() == 1) return;
  raft::Configuration next = current;
  for (ReplicaId id : current.voters) {
    MemberRecord record = RecordOf(current, id);
    const uint64_t heard = id == options_.identity.replica ? start_.incarnation : heard_[id].incarnation;
    if (record.incarnation != 0 || heard == 0) continue;
    record.incarnation = heard;
    SetRecord(&next, id, record);
  }
  Position position;
  if (next != current) (void)ProposeMembersLocked(next, now, &position);
}

}  // namespace terrane::replication
