#include "simulation/system_ledger.h"

#include <algorithm>

#include "metadata/invariants.h"
#include "shard/convert.h"
#include "shard/state_records.h"
#include "simulation/system.h"

namespace terrane::simulation {

using shard::ChunkState;
using shard::OwnedChunk;

namespace {

std::vector<uint64_t> Parse(std::string_view document) {
  std::vector<uint64_t> values(document.size() / 8);
  for (size_t i = 0; i < values.size(); ++i) {
    for (int byte = 7; byte >= 0; --byte) values[i] = values[i] << 8 | static_cast<uint8_t>(document[8 * i + byte]);
  }
  return values;
}

bool Holds(const std::optional<std::string>& document, uint64_t value) {
  if (!document) return false;
  const std::vector<uint64_t> values = Parse(*document);
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

void SystemLedger::Fail(const std::string& sentence) {
  system_.world.Fail(sentence);
}

std::vector<std::string> SystemLedger::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, model] : keys_) keys.push_back(key);
  return keys;
}

SystemLedger::Ticket SystemLedger::Begin(const std::string& key) const {
  const Key& model = keys_.at(key);
  return {model.length, model.somewhere, model.version};
}

// An answer shows a list: it fits into the one order, or makes more of it known.
bool SystemLedger::Merge(const std::string& name, Key* key, const std::string& document, size_t* length) {
  const std::vector<uint64_t> values = Parse(document);
  *length = values.size();
  for (size_t i = 0; i < values.size(); ++i) {
    if (i < key->order.size()) {
      if (values[i] == key->order[i]) continue;
      Fail(StrCat("lost update: two orders of appends to ", name, ", at ", i));
      return false;
    }
    if (!key->members.insert(values[i]).second) {
      Fail(StrCat("an append to ", name, " took effect twice"));
      return false;
    }
    key->order.push_back(values[i]);
    if (key->somewhere.erase(values[i]) > 0) key->length = std::max(key->length, i + 1);
  }
  return true;
}

void SystemLedger::Appended(const std::string& name, const Ticket& ticket, uint64_t value, bool repeated,
                            const std::string& document) {
  Key& key = keys_[name];
  ++acknowledged_;
  key.all.insert(value);
  if (repeated) {
    auto known = std::find(key.order.begin(), key.order.end(), value);
    if (known == key.order.end()) {
      key.somewhere.insert(value);
    } else {
      key.length = std::max<size_t>(key.length, known - key.order.begin() + 1);
    }
  } else {
    size_t length = 0;
    if (!Merge(name, &key, document, &length)) return;
    if (length <= ticket.length || key.order[length - 1] != value) {
      return Fail(StrCat("an append to ", name, " was computed from an older list than what was acknowledged before"));
    }
    key.length = std::max(key.length, length);
  }
  CheckReaders(name, value);
}

void SystemLedger::WroteVersion(const std::string& name, uint64_t version) {
  ++acknowledged_;
  Key& key = keys_[name];
  key.version = std::max(key.version, version);
  CheckReaders(name, std::nullopt);
}

void SystemLedger::Read(const std::string& name, const Ticket& ticket, const std::optional<std::string>& document) {
  Key& key = keys_[name];
  if (key.list) {
    size_t length = 0;
    if (!Merge(name, &key, document.value_or(""), &length)) return;
    if (length < ticket.length) {
      return Fail(StrCat("stale read of ", name, ": ", length, " appends, ", ticket.length, " were known before"));
    }
    for (uint64_t value : ticket.somewhere) {
      auto place = std::find(key.order.begin(), key.order.begin() + length, value);
      if (place == key.order.begin() + length) {
        return Fail(StrCat("a read of ", name, " misses an append that was acknowledged before it began"));
      }
    }
    key.length = std::max(key.length, length);
    return;
  }
  uint64_t version = ticket.version;
  if (document) {
    version = Parse(*document).front();
  } else {
    while (version <= key.invoked && !IsDeletion(version)) ++version;
  }
  if (version < ticket.version || version > key.invoked) {
    return Fail(StrCat("stale read of ", name, ": ", document ? "version " : "deleted at version ", version,
                       ", known were ", ticket.version, " to ", key.invoked));
  }
  key.version = std::max(key.version, version);
}

// Everybody who could answer a read now, under its lease, knows of what was acknowledged.
void SystemLedger::CheckReaders(const std::string& name, std::optional<uint64_t> value) {
  const Key& key = keys_[name];
  for (const auto& replica : system_.shard_replicas) {
    if (!replica->alive() || replica->paused() || !replica->HasLease()) continue;
    const auto ownership = replica->applier()->View();
    for (const OwnedChunk* chunk : ownership->All()) {
      if (!chunk->range.Contains(name)) continue;
      if (chunk->state != ChunkState::kOwned && chunk->state != ChunkState::kWriteFenced) continue;
      auto view = replica->store().View(chunk->copy);
      if (!view.ok()) continue;
      const auto document = (*view)->GetDocument(chunk->copy, name, kDocumentId);
      bool fresh;
      if (value) {
        fresh = Holds(*document, *value);
      } else if (*document) {
        fresh = Parse(**document).front() >= key.version;
      } else {
        uint64_t version = key.version;
        while (version <= key.invoked && !IsDeletion(version)) ++version;
        fresh = version <= key.invoked;
      }
      if (!fresh) {
        Fail(StrCat(replica->name(), " would serve a read of ", name, " under its lease from copy ",
                    chunk->copy.value(), " and misses an acknowledged write"));
      }
    }
  }
}

// ---- shards ---------------------------------------------------------------------------------------------------------

namespace {

const v1::MoveRef* MoveOf(const v1::ShardEntry& entry) {
  switch (entry.entry_case()) {
    case v1::ShardEntry::kPin:
      return &entry.pin().move();
    case v1::ShardEntry::kFence:
      return &entry.fence().move();
    case v1::ShardEntry::kFenceReads:
      return &entry.fence_reads().move();
    case v1::ShardEntry::kPrepareCopy:
      return &entry.prepare_copy().move();
    case v1::ShardEntry::kIngestSegment:
      return &entry.ingest_segment().move();
    case v1::ShardEntry::kImportBatch:
      return &entry.import_batch().move();
    case v1::ShardEntry::kBeginRangeRepair:
      return &entry.begin_range_repair().move();
    case v1::ShardEntry::kComplete:
      return &entry.complete().move();
    default:  // steps that are not refused for the attempt's sake, and what belongs to no move
      return nullptr;
  }
}

}  // namespace

void SystemLedger::ShardApplied(ShardReplica& replica, Position position, const v1::ShardEntry& entry,
                                const replication::ApplyResult& result) {
  World& world = system_.world;
  world.Note(position.value() * 31 + static_cast<uint64_t>(entry.entry_case()));
  if (entry.has_write()) {
    if (!result.status.ok()) return;
    for (const v1::Change& change : entry.write().changes()) {
      Token& token = keys_[change.shard_key()].token;
      if (Token(entry.write().token()) < token) {
        Fail(StrCat(change.shard_key(), " is written under token ", entry.write().token(), ", was under ",
                    token.value(), " before"));
      }
      token = std::max(token, Token(entry.write().token()));
    }
    return;
  }
  const auto* outcome = std::any_cast<shard::EntryResult>(&result.value);
  if (outcome == nullptr) return;
  if (world.tracing()) {
    world.Trace(StrCat(replica.shard(), "[", position.value(), "] ", OutcomeName(outcome->outcome), " ", outcome->why,
                       ": ", entry.ShortDebugString().substr(0, 150)));
  }
  if (const v1::MoveRef* move = MoveOf(entry); move != nullptr && outcome->outcome == shard::Outcome::kApplied) {
    auto ended = ended_.find({replica.shard(), MigrationId(move->migration_id())});
    if (ended != ended_.end() && Attempt(move->attempt()) <= ended->second) {
      Fail(StrCat("an entry of attempt ", move->attempt(), " of migration ", move->migration_id(),
                  " took effect behind its end"));
    }
  }
  NoteStep(replica, entry, *outcome);
  if (entry.has_import_batch()) return;
  CheckOwners();
  const bool of_digests = entry.has_fence() || entry.has_complete() || entry.has_split() ||
                          entry.has_ingest_segment() || entry.has_own_copy();
  if (of_digests) CheckDigests(replica);
  system_.Aim(replica.group());
}

// Counts what happened; and what must not happen to steps that the logs have in their order.
void SystemLedger::NoteStep(ShardReplica& replica, const v1::ShardEntry& entry, const shard::EntryResult& result) {
  using shard::Outcome;
  World& world = system_.world;
  const bool applied = result.outcome == Outcome::kApplied;
  switch (entry.entry_case()) {
    case v1::ShardEntry::kEndAttempt: {
      const shard::MoveRef move = shard::FromProto(entry.end_attempt().move());
      const MoveAtShard key(replica.shard(), move.id);
      ended_[key] = std::max(ended_[key], move.attempt);
      if (complete_.contains(key) && complete_[key] == move.attempt) world.Probe("end of attempt after K");
      world.Probe(entry.end_attempt().abort() ? "move ended by abort, at a shard" : "attempt ended, at a shard");
      break;
    }
    case v1::ShardEntry::kFence:
      if (applied) world.Probe("F");
      if (result.outcome == Outcome::kStaleToken) world.Probe("F with an old token refused");
      break;
    case v1::ShardEntry::kFenceReads:
      if (applied) world.Probe("G");
      if (result.outcome == Outcome::kNoFence) world.Probe("G without its fence refused");
      break;
    case v1::ShardEntry::kComplete:
      if (applied) {
        world.Probe("K");
        const shard::MoveRef move = shard::FromProto(entry.complete().move());
        complete_[{replica.shard(), move.id}] = move.attempt;
        const auto repair = repairs_.find({replica.shard(), CopyId(entry.complete().copy_id())});
        if (repair != repairs_.end() && repair->second.begun) {
          Fail(StrCat("K on ", replica.shard(), " while a part of ", repair->second.range.ToString(),
                      " is copied again"));
        }
      }
      // What was verified cannot differ: nothing is damaged behind the verification.
      if (result.outcome == Outcome::kDigestMismatch) Fail("source and target differ at K");
      if (result.outcome == Outcome::kHole) world.Probe("K refused: cursor elsewhere");
      break;
    case v1::ShardEntry::kIngestSegment:
      if (result.outcome == Outcome::kTooOld) world.Probe("segment refused at apply because of its position");
      if (result.outcome == Outcome::kAlready || result.outcome == Outcome::kConflict) {
        world.Probe("segment that is in already");
      }
      break;
    case v1::ShardEntry::kImportBatch:
      if (result.outcome == Outcome::kHole) world.Probe("batch of the tail refused: a hole");
      if (result.outcome == Outcome::kAlready) world.Probe("batch of the tail that is in already");
      if (applied) NoteBatch(replica, entry.import_batch());
      break;
    case v1::ShardEntry::kBeginRangeRepair:
      if (result.outcome == Outcome::kTooOld) world.Probe("repair refused because of its position");
      if (applied) NoteRepair(replica, entry.begin_range_repair());
      break;
    case v1::ShardEntry::kDropCopy:
      if (applied) repairs_.erase({replica.shard(), CopyId(entry.drop_copy().copy_id())});
      break;
    case v1::ShardEntry::kForgetMoves:
      if (applied) world.Probe("ended moves forgotten by a shard");
      if (result.outcome == Outcome::kConflict) Fail(StrCat("on ", replica.shard(), ": ", result.why));
      break;
    case v1::ShardEntry::kRecertify:
      Fail(StrCat("a running digest was wrong on ", replica.shard()));
      break;
    default:
      break;
  }
}

void SystemLedger::NoteRepair(ShardReplica& replica, const v1::BeginRangeRepair& entry) {
  Repair& repair = repairs_[{replica.shard(), CopyId(entry.copy_id())}];
  const KeyRange range = shard::FromProto(entry.range());
  if (repair.begun && repair.range != range) {
    Fail(StrCat("range ", range.ToString(), " is copied again on ", replica.shard(), " while only a part of ",
                repair.range.ToString(), " is"));
  }
  repair.range = range;
  repair.position = Position(entry.source_position());
}

void SystemLedger::NoteBatch(ShardReplica& replica, const v1::ImportBatch& entry) {
  const auto repair = repairs_.find({replica.shard(), CopyId(entry.copy_id())});
  if (repair == repairs_.end()) return;
  if (entry.repair_last()) {
    repairs_.erase(repair);
  } else if (entry.repair_position() != 0) {
    repair->second.begun = true;
  } else if (repair->second.begun && Position(entry.to_position()) > repair->second.position) {
    Fail(StrCat("the tail on ", replica.shard(), " is at ", entry.to_position(), ", and only a part of ",
                repair->second.range.ToString(), " is copied again as of ", repair->second.position.value()));
  }
}

ShardReplica* SystemLedger::Foremost(const RaftGroup& group) {
  for (RaftReplica* raft_replica : group.replicas) {
    auto* replica = static_cast<ShardReplica*>(raft_replica);
    if (replica->alive() && replica->store().AppliedPosition() >= group.applied) return replica;
  }
  return nullptr;
}

void SystemLedger::CheckOwners() {
  std::vector<std::pair<std::string, std::shared_ptr<const shard::Ownership>>> states;
  for (const auto& group : system_.shard_groups) {
    if (ShardReplica* replica = Foremost(*group)) states.emplace_back(group->name, replica->applier()->View());
  }
  for (const auto& [name, key] : keys_) {
    const std::string* owner = nullptr;
    for (const auto& [shard, ownership] : states) {
      for (const OwnedChunk* chunk : ownership->All()) {
        if (chunk->state != ChunkState::kOwned || !chunk->range.Contains(name)) continue;
        if (owner != nullptr) {
          return Fail(
              StrCat("two owners of ", name, ": ", *owner, " and ", shard, " (copy ", chunk->copy.value(), ")"));
        }
        owner = &shard;
      }
    }
  }
}

void SystemLedger::CheckDigests(ShardReplica& replica) {
  auto ownership = shard::LoadOwnership(*replica.store().View());
  if (!ownership.ok()) return Fail(StrCat(replica.name(), ": ", ownership.status().ToString()));
  for (const OwnedChunk* chunk : ownership->All()) {
    auto view = replica.store().View(chunk->copy);
    if (!view.ok()) continue;
    const auto scanned = storage::ScanDigest(**view, chunk->copy, chunk->range);
    if (*scanned == chunk->digest) continue;
    return Fail(StrCat("digest by sum is not digest by scan on ", replica.name(), ", copy ", chunk->copy.value(), " ",
                       chunk->range.ToString(), " (", StateName(chunk->state), "): ", chunk->digest.ToString(), " and ",
                       scanned->ToString()));
  }
}

// ---- metadata -------------------------------------------------------------------------------------------------------

void SystemLedger::MetadataApplied(const metadata::State& state) {
  v1::MetadataState now = state.ToProto();
  for (const std::string& broken : metadata::CheckInvariants(now)) Fail(broken);
  if (metadata_ && metadata_->revision() <= now.revision()) {
    for (const std::string& broken : metadata::CheckHistory(*metadata_, now)) Fail(broken);
  }
  for (const v1::Migration& record : now.migrations()) {
    int& seen = stages_[record.id()];
    if (seen == record.stage()) continue;
    seen = record.stage();
    system_.Aim(system_.meta_group);
    if (system_.world.tracing()) system_.world.Trace("metadata: " + record.ShortDebugString().substr(0, 200));
    if (record.stage() != v1::Migration::COMMITTED) continue;
    system_.world.Probe("move committed");
    if (record.attempts_size() > 0) system_.world.Probe("move committed after an ended attempt");
  }
  metadata_ = std::move(now);
}

// ---- at the end -----------------------------------------------------------------------------------------------------

void SystemLedger::CheckAtEnd() {
  for (const auto& group : system_.shard_groups) {
    ShardReplica* first = nullptr;
    for (RaftReplica* raft_replica : group->replicas) {
      auto* replica = static_cast<ShardReplica*>(raft_replica);
      if (!replica->alive()) continue;
      CheckDigests(*replica);
      if (first == nullptr) {
        first = replica;
        continue;
      }
      if (first->store().AppliedPosition() != replica->store().AppliedPosition()) continue;
      for (const OwnedChunk* chunk : first->applier()->View()->All()) {
        auto ours = first->store().View(chunk->copy);
        auto theirs = replica->store().View(chunk->copy);
        if (!ours.ok() || !theirs.ok()) continue;
        if (*storage::ScanDigest(**ours, chunk->copy, chunk->range) !=
            *storage::ScanDigest(**theirs, chunk->copy, chunk->range)) {
          Fail(StrCat(first->name(), " and ", replica->name(), " applied the same and hold different documents"));
        }
      }
    }
  }
  for (const auto& [name, key] : keys_) {
    if (!key.somewhere.empty()) Fail(StrCat("an acknowledged append to ", name, " was never seen again"));
    for (uint64_t value : key.all) {
      if (!key.members.contains(value)) Fail(StrCat("an acknowledged append to ", name, " is lost"));
    }
  }
}

}  // namespace terrane::simulation
