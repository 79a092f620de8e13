// Linearizable reads without a log entry (section 6.4 of the thesis).
#include <algorithm>
#include <utility>

#include "raft/core.h"

namespace terrane::raft {
namespace {
constexpr size_t kRoundsKept = 64;
}  // namespace
Refusal Core::ReadIndex(uint64_t context) {
  if (LeaderRole* leader = Leader()) {
    if (!ReadyToServe()) return Refusal::kNotReady;
    if (stalled_) return Refusal::kStalled;
    leader->reads.push_back({context, ReplicaId(), commit_, 0});
    flush_ = true;
    return Refusal::kNone;
  }
  if (leader() == ReplicaId()) return Refusal::kNotLeader;
  Message message;
  message.type = MessageType::kReadIndex;
  message.to = leader();
  message.context = context;
  Send(std::move(message));
  return Refusal::kNone;
}

void Core::StepReadIndex(const Message& message) {
  LeaderRole* leader = Leader();
  if (leader == nullptr || !ReadyToServe() || stalled_) {
    Message answer = Answer(message, MessageType::kReadIndexAnswer);
    answer.context = message.context;
    answer.reject = true;
    SendAnswer(std::move(answer));
    return;
  }
  leader->reads.push_back({message.context, message.from, commit_, 0});
  flush_ = true;
}

void Core::StepReadIndexAnswer(const Message& message) {
  reads_.push_back({message.context, !message.reject, message.index});
}

// Reads that came while a round was on its way wait for its end, then one round serves them all.
void Core::FlushReads(MonotonicTime now) {
  LeaderRole* leader = Leader();
  if (leader->reads.empty() || leader->reads.back().round != 0 || leader->reads.front().round != 0) return;
  StartRound(now);
}

// A round of heartbeats. Reads that wait are confirmed by it: it is sent after they were asked for.
void Core::StartRound(MonotonicTime now) {
  LeaderRole* leader = Leader();
  ++leader->round;
  leader->round_sent.push_back(now);
  if (leader->round_sent.size() > kRoundsKept) leader->round_sent.pop_front();
  for (Progress& peer : leader->peers) {
    peer.clock_when_sent.push_back(peer.clock);
    if (peer.clock_when_sent.size() > kRoundsKept) peer.clock_when_sent.pop_front();
  }
  const uint64_t age = leader->round - QuorumRound();
  leader->next_heartbeat = now + options_.heartbeat_interval;
  for (auto read = leader->reads.rbegin(); read != leader->reads.rend() && read->round == 0; ++read) {
    read->round = leader->round;
  }
  for (const Progress& peer : leader->peers) {
    Message message;
    message.type = MessageType::kHeartbeat;
    message.to = peer.id;
    // Where the logs are known to be equal: below the own cut nothing needs to be said.
    if (std::optional<Term> term = log_.TermAt(peer.match)) {
      message.index = peer.match;
      message.log_term = *term;
      message.commit = std::min(commit_, peer.match);
    }
    message.context = leader->round;
    message.hint_index = MayBeCommitted();
    const std::deque<uint64_t>& clocks = peer.clock_when_sent;
    if (age < clocks.size()) message.echo = clocks[clocks.size() - 1 - age];
    Send(std::move(message));
  }
  ConfirmReads();
}

// nullopt: too long ago, or not sent.
std::optional<MonotonicTime> Core::WhenSent(uint64_t round) const {
  const LeaderRole* leader = Leader();
  const uint64_t age = leader->round - round;
  if (age >= leader->round_sent.size()) return std::nullopt;
  return leader->round_sent[leader->round_sent.size() - 1 - age];
}

void Core::ConfirmReads() {
  LeaderRole* leader = Leader();
  if (leader->reads.empty()) return;
  uint64_t confirmed = QuorumRound();
  while (!leader->reads.empty() && leader->reads.front().round != 0 && leader->reads.front().round <= confirmed) {
    AnswerRead(leader->reads.front(), true);
    leader->reads.pop_front();
  }
  if (!leader->reads.empty()) flush_ = true;
}

void Core::FailReads(LeaderRole* leader) {
  for (const PendingRead& read : leader->reads) AnswerRead(read, false);
  leader->reads.clear();
}

void Core::AnswerRead(const PendingRead& read, bool confirmed) {
  if (read.from == ReplicaId()) {
    reads_.push_back({read.context, confirmed, read.index});
    return;
  }
  Message answer;
  answer.type = MessageType::kReadIndexAnswer;
  answer.to = read.from;
  answer.context = read.context;
  answer.index = read.index;
  answer.reject = !confirmed;
  SendAnswer(std::move(answer));
}

}  // namespace terrane::raft
