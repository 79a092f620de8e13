// Drives every move that has not ended: the host of NextStep. Runs on the leader of the metadata service.
//
// One thread ("coord") owns everything; answers of shards, changes of records and timers are handed to it and make it
// look again at the move that they are about. Nothing is kept over a change of leader: the next coordinator goes on
// from the records (trap T43), and whatever this one still has on its way is refused where it would take effect.
//
// Settings that it reads (docs/configuration.md):
//   migration.moves_per_shard   moves under way at once that leave or reach one shard; default 4
//   test.pause_at               for tests: the name of a stage in which it does nothing (its deadline still holds), or
//                               "fencing.complete": F is done; "fencing.read_fence": K is done too; "fencing.commit":
//                               G as well, the commit is held
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ids.h"
#include "migration/metadata_gateway.h"
#include "migration/shard_gateway.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::migration {

inline constexpr std::string_view kMovesPerShardSetting = "migration.moves_per_shard";
inline constexpr std::string_view kPauseAtSetting = "test.pause_at";

class CoordinatorLoop;

// Thread-safe; no call blocks but Stop. Both gateways outlive it.
class Coordinator {
 public:
  Coordinator(Clock* clock, MetadataGateway* metadata, ShardGateway* shards);
  // Stops.
  ~Coordinator();

  // This node leads in `term`, and may propose: takes up every active move.
  void StartLeading(Term term);
  // It does not any more: forgets everything.
  void StopLeading();
  // These records were written or removed.
  void RecordsChanged(std::vector<uint64_t> ids);
  // A setting changed.
  void SettingsChanged();

  // What a move is doing right now; nullopt if it is not under way here.
  std::optional<v1::MigrationProgress> Progress(MigrationId id) const;

  // No call of a gateway begins after the return. Idempotent.
  void Stop();

 private:
  class Host;
  std::shared_ptr<Host> host_;
  std::shared_ptr<CoordinatorLoop> loop_;
};

}  // namespace terrane::migration
