#include "replication/wire.h"

#include <utility>

namespace terrane::replication {
namespace {

void Put(const StartId& start, v1::RaftStart* proto) {
  proto->set_incarnation(start.incarnation);
  proto->set_start(start.start);
}

StartId Take(const v1::RaftStart& proto) {
  return {proto.incarnation(), proto.start()};
}

void Put(const raft::Message& message, v1::RaftMessage* proto) {
  proto->set_type(static_cast<uint32_t>(message.type));
  proto->set_from(message.from.value());
  proto->set_to(message.to.value());
  proto->set_term(message.term.value());
  proto->set_index(message.index.value());
  proto->set_log_term(message.log_term.value());
  proto->set_commit(message.commit.value());
  proto->set_reject(message.reject);
  proto->set_transfer(message.transfer);
  proto->set_campaign_term(message.campaign_term.value());
  proto->set_hint_index(message.hint_index.value());
  proto->set_hint_term(message.hint_term.value());
  proto->set_context(message.context);
  proto->set_echo(message.echo);
  for (const raft::Entry& entry : message.entries) {
    v1::RaftEntry* e = proto->add_entries();
    e->set_term(entry.term.value());
    e->set_index(entry.index.value());
    e->set_type(static_cast<uint32_t>(entry.type));
    e->set_data(entry.data.view().data(), entry.data.view().size());
  }
  if (message.snapshot != nullptr) {
    v1::RaftSnapshot* s = proto->mutable_snapshot();
    s->set_index(message.snapshot->index.value());
    s->set_term(message.snapshot->term.value());
    s->set_configuration(raft::EncodeConfiguration(message.snapshot->configuration));
    s->set_address(message.snapshot->address);
  }
}

// False: of a newer version, or not valid.
bool Take(v1::RaftMessage* proto, raft::Message* message) {
  message->type = static_cast<raft::MessageType>(proto->type());
  message->from = ReplicaId(proto->from());
  message->to = ReplicaId(proto->to());
  message->term = Term(proto->term());
  message->index = Position(proto->index());
  message->log_term = Term(proto->log_term());
  message->commit = Position(proto->commit());
  message->reject = proto->reject();
  message->transfer = proto->transfer();
  message->campaign_term = Term(proto->campaign_term());
  message->hint_index = Position(proto->hint_index());
  message->hint_term = Term(proto->hint_term());
  message->context = proto->context();
  message->echo = proto->echo();
  if (proto->type() == 0 || proto->type() > static_cast<uint32_t>(raft::MessageType::kReadIndexAnswer)) return false;
  message->entries.reserve(static_cast<size_t>(proto->entries_size()));
  for (v1::RaftEntry& e : *proto->mutable_entries()) {
    if (e.type() > static_cast<uint32_t>(raft::EntryType::kConfiguration)) return false;
    message->entries.push_back({Term(e.term()), Position(e.index()), static_cast<raft::EntryType>(e.type()),
                                raft::Payload(std::move(*e.mutable_data()))});
  }
  if (message->type != raft::MessageType::kInstallSnapshot) return true;
  auto snapshot = std::make_shared<raft::SnapshotReference>();
  snapshot->index = Position(proto->snapshot().index());
  snapshot->term = Term(proto->snapshot().term());
  std::optional<raft::Configuration> configuration = raft::DecodeConfiguration(proto->snapshot().configuration());
  if (!configuration) return false;
  snapshot->configuration = *std::move(configuration);
  snapshot->address = proto->snapshot().address();
  message->snapshot = std::move(snapshot);
  return true;
}

}  // namespace

v1::RaftBatch ToProto(PeerBatch batch) {
  v1::RaftBatch proto;
  proto.set_cluster(std::move(batch.cluster));
  proto.set_group(std::move(batch.group));
  proto.set_from(batch.from.value());
  proto.set_to(batch.to.value());
  Put(batch.start, proto.mutable_start());
  if (batch.acknowledged.incarnation != 0) Put(batch.acknowledged, proto.mutable_acknowledged());
  proto.set_greeting(batch.greeting);
  proto.set_joining(batch.joining);
  proto.set_replaced_at(batch.replaced_at.value());
  for (const raft::Message& message : batch.messages) Put(message, proto.add_messages());
  return proto;
}

PeerBatch FromProto(v1::RaftBatch* proto) {
  PeerBatch batch;
  batch.cluster = proto->cluster();
  batch.group = proto->group();
  batch.from = ReplicaId(proto->from());
  batch.to = ReplicaId(proto->to());
  batch.start = Take(proto->start());
  batch.acknowledged = Take(proto->acknowledged());
  batch.greeting = proto->greeting();
  batch.joining = proto->joining();
  batch.replaced_at = Position(proto->replaced_at());
  for (v1::RaftMessage& m : *proto->mutable_messages()) {
    raft::Message message;
    if (Take(&m, &message)) batch.messages.push_back(std::move(message));
  }
  return batch;
}

}  // namespace terrane::replication
