// One core in one test; the test plays all others.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/core.h"
#include "raft/group.h"

namespace terrane::raft {

// Replica 1 of the voters 1..n. Its log: the configuration as entry 1, then entries of the given terms.
class LoneCore {
 public:
  LoneCore(uint64_t voters, uint64_t term, std::vector<uint64_t> terms, uint64_t applied = 0) {
    std::vector<uint64_t> ids;
    for (uint64_t id = 1; id <= voters; ++id) ids.push_back(id);
    RestoredState state = NewGroup(MakeConfiguration(ids));
    state.hard_state.term = Term(term);
    for (uint64_t entry_term : terms) {
      state.entries.push_back({Term(entry_term), Position(state.entries.size() + 1), EntryType::kNormal, "x"});
    }
    state.applied = Position(applied);
    Options options;
    options.id = ReplicaId(1);
    core.emplace(options, std::move(state), now);
    now += 300ms;
  }

  // Steps a message to the core; what is not named is as in Message().
  void Step(Message message) {
    message.to = ReplicaId(1);
    core->Step(message, now);
  }
  // All that the core wants to send now; nothing is synced.
  std::vector<Message> Unsynced() {
    std::vector<Message> out;
    while (core->HasReady()) {
      Ready ready = core->TakeReady(now);
      out.insert(out.end(), ready.messages.begin(), ready.messages.end());
      held.insert(held.end(), ready.messages_after_persist.begin(), ready.messages_after_persist.end());
      if (ready.sequence != 0) sequence = ready.sequence;
      committed.insert(committed.end(), ready.committed.begin(), ready.committed.end());
      if (ready.truncate_from) truncated_from = ready.truncate_from;
      reads.insert(reads.end(), ready.reads.begin(), ready.reads.end());
      snapshot = ready.snapshot ? ready.snapshot : snapshot;
    }
    return out;
  }
  // The same, and everything is synced.
  std::vector<Message> Synced() {
    std::vector<Message> out;
    do {
      std::vector<Message> now_sent = Unsynced();
      out.insert(out.end(), now_sent.begin(), now_sent.end());
      out.insert(out.end(), held.begin(), held.end());
      held.clear();
      core->Persisted(sequence, now);
    } while (core->HasReady());
    return out;
  }
  // Everything that is committed is applied.
  void ApplyAll() {
    Synced();
    if (!committed.empty()) core->Applied(committed.back().index);
  }
  // Campaigns and wins with the vote of 2 (and 3).
  void Lead() {
    now += 700ms;
    core->Tick(now);
    Synced();
    for (uint64_t id : {2, 3}) {
      Message answer;
      answer.type = MessageType::kPreVoteAnswer;
      answer.from = ReplicaId(id);
      answer.term = core->term();
      answer.campaign_term = Term(core->term().value() + 1);
      Step(answer);
    }
    Synced();
    for (uint64_t id : {2, 3}) {
      Message answer;
      answer.type = MessageType::kVoteAnswer;
      answer.from = ReplicaId(id);
      answer.term = core->term();
      Step(answer);
    }
  }

  static Message From(uint64_t from, MessageType type, uint64_t term) {
    Message message;
    message.type = type;
    message.from = ReplicaId(from);
    message.term = Term(term);
    return message;
  }
  // An Append of entries with the given terms behind prev.
  static Message Append(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term, std::vector<uint64_t> terms,
                        uint64_t commit = 0) {
    Message message = From(from, MessageType::kAppend, term);
    message.index = Position(prev);
    message.log_term = Term(prev_term);
    message.commit = Position(commit);
    for (uint64_t entry_term : terms) {
      message.entries.push_back({Term(entry_term), Position(++prev), EntryType::kNormal, "y"});
    }
    return message;
  }
  static Message Vote(uint64_t from, uint64_t term, uint64_t last, uint64_t last_term) {
    Message message = From(from, MessageType::kVote, term);
    message.index = Position(last);
    message.log_term = Term(last_term);
    return message;
  }
  static Message PreVote(uint64_t from, uint64_t term, uint64_t last, uint64_t last_term) {
    Message message = Vote(from, term, last, last_term);
    message.type = MessageType::kPreVote;
    message.campaign_term = Term(term + 1);
    return message;
  }

  MonotonicTime now{1000s};
  std::optional<Core> core;
  std::vector<Message> held;  // wait for a sync
  uint64_t sequence = 0;
  std::vector<Entry> committed;
  std::vector<ReadState> reads;
  std::optional<Position> truncated_from;
  std::optional<SnapshotReference> snapshot;
};

}  // namespace terrane::raft
