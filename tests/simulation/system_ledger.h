// What the simulated system promised, and what is checked of it while it runs. The first broken promise ends the run.
//
//   reads          Each key is linearizable. Appended-to keys are lists that all clients append to: every answer must
//   be
//                  a prefix of one order, which grows, holds every acknowledged append once, and never less than what
//                  was known when the question was asked. Others are registers with one writer, who puts and deletes.
//   leases         Whoever could answer a read right now without asking anybody shows every acknowledged write.
//   owners         Of each key at most one shard's log says that it is owned and writable.
//   tokens         The token under which a key is written never goes back; M1 to M6 of the metadata state.
//   ended attempts After the end of an attempt stands in a shard's log nothing of it takes effect there.
//   ranges         Of a range that is copied again in parts nothing else happens before the last part: neither does the
//                  tail go on behind its position, nor is another range begun, nor the copy complete (trap T73).
//   digests        The running digest of every chunk is that of a scan; replicas that applied the same hold the same.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "metadata/state.h"
#include "replication/state_machine.h"
#include "shard/ownership.h"
#include "simulation/system_raft.h"

namespace terrane::simulation {

struct SimulatedSystem;
class ShardReplica;

class SystemLedger {
 public:
  explicit SystemLedger(SimulatedSystem* system) : system_(*system) {}

  // What was known of a key when an operation on it began.
  struct Ticket {
    size_t length = 0;
    std::set<uint64_t> somewhere;
    uint64_t version = 0;
  };

  void AddList(const std::string& key) { keys_[key].list = true; }
  void AddRegister(const std::string& key) { keys_[key].list = false; }
  std::vector<std::string> Keys() const;
  bool IsList(const std::string& key) const { return keys_.at(key).list; }
  static bool IsDeletion(uint64_t version) { return version % 4 == 0; }

  Ticket Begin(const std::string& key) const;
  // The only writer of a register is about to write this version.
  void WritesVersion(const std::string& key, uint64_t version) { keys_[key].invoked = version; }
  void WroteVersion(const std::string& key, uint64_t version);
  void Appended(const std::string& key, const Ticket& ticket, uint64_t value, bool repeated,
                const std::string& document);
  void Read(const std::string& key, const Ticket& ticket, const std::optional<std::string>& document);
  uint64_t acknowledged() const { return acknowledged_; }

  // An entry of a shard's log was applied for the first time in its group, at `replica`.
  void ShardApplied(ShardReplica& replica, Position position, const v1::ShardEntry& entry,
                    const replication::ApplyResult& result);
  void MetadataApplied(const metadata::State& state);

  void CheckDigests(ShardReplica& replica);
  // All is quiet: replicas of a group that applied the same hold the same; every acknowledged write is there once.
  void CheckAtEnd();

 private:
  struct Key {
    bool list = true;
    // Lists.
    std::vector<uint64_t> order;   // as far as any answer has shown
    std::set<uint64_t> members;    // of `order`
    size_t length = 0;             // acknowledged, or seen by a read
    std::set<uint64_t> somewhere;  // acknowledged, place not known yet
    std::set<uint64_t> all;        // acknowledged
    // Registers.
    uint64_t invoked = 0;
    uint64_t version = 0;  // acknowledged, or seen by a read
    Token token;           // greatest under which it was written
  };

  void Fail(const std::string& sentence);
  bool Merge(const std::string& name, Key* key, const std::string& document, size_t* length);
  void CheckReaders(const std::string& name, std::optional<uint64_t> value);
  void NoteStep(ShardReplica& replica, const v1::ShardEntry& entry, const shard::EntryResult& result);
  void NoteRepair(ShardReplica& replica, const v1::BeginRangeRepair& entry);
  void NoteBatch(ShardReplica& replica, const v1::ImportBatch& entry);
  void CheckOwners();
  // The replica whose state is that of the group's log as far as it was ever applied; nullptr: it is down.
  ShardReplica* Foremost(const RaftGroup& group);

  SimulatedSystem& system_;
  std::map<std::string, Key> keys_;
  uint64_t acknowledged_ = 0;
  using MoveAtShard = std::pair<std::string, MigrationId>;
  std::map<MoveAtShard, Attempt> ended_;     // by its end in the shard's log
  std::map<MoveAtShard, Attempt> complete_;  // K stood
  // Ranges that are being copied again, by shard and copy.
  struct Repair {
    KeyRange range;
    Position position;
    bool begun = false;  // a part of it is there
  };
  std::map<std::pair<std::string, CopyId>, Repair> repairs_;
  std::map<uint64_t, int> stages_;  // of moves, as last seen
  std::optional<v1::MetadataState> metadata_;
};

}  // namespace terrane::simulation
