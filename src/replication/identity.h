// Whose directory it is: LOCK, identity and peers (docs/data-layout.md, "A replica's directory").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "replication/file_system.h"
#include "replication/replicated_log.h"

namespace terrane::replication {

// Names one life of one directory. `start` (common/start_number.h) is another one with each start and is synced before
// anything is answered, so a peer that has heard of a later one knows an old copy of the disk when it meets it (trap
// T51).
struct StartId {
  uint64_t incarnation = 0;  // random, made with the directory
  uint64_t start = 0;
  friend bool operator==(const StartId&, const StartId&) = default;
};

// An opened directory: locked until destroyed.
class ReplicaDirectory {
 public:
  // Makes the directory if it is missing or empty, as that of a founder of the group or, with `join`, of a replica that
  // joins it; raises the start number.
  //   kFailedPrecondition: in use; another cluster, group or replica; a newer format; not empty, yet without identity
  //   kDataLoss: the identity file is damaged
  static absl::StatusOr<std::unique_ptr<ReplicaDirectory>> Open(FileSystem* file_system,
                                                                const std::filesystem::path& path,
                                                                const Identity& identity, bool join = false);

  const StartId& start() const { return start_; }
  // True: made with the group, whose first configuration names no directories. Else it votes only if a configuration
  // names this very directory.
  bool founder() const { return founder_; }
  // False until LogMade(): there is no log yet, or a crash interrupted its making; what is in log/ means nothing.
  bool log_made() const { return log_made_; }
  // The log is there and synced. Durable on return.
  absl::Status LogMade();

  std::filesystem::path log() const { return path_ / "log"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

  // --- Peers: the greatest start heard of each. One thread. ---
  // Known start of `peer`; all zero if never heard.
  StartId Known(ReplicaId peer) const;
  // Takes note of `start` of `peer`, durably, if it is new. kFailedPrecondition: an old or another disk of that peer;
  // the message says so. `renewed`: the group has taken the peer in with this directory, whatever was known before.
  absl::Status Hear(ReplicaId peer, const StartId& start, bool renewed = false);

 private:
  ReplicaDirectory(FileSystem* file_system, std::filesystem::path path, Identity identity);
  absl::Status Load();
  absl::Status Save();
  absl::Status LoadPeers();

  FileSystem* const file_system_;
  const std::filesystem::path path_;
  const Identity identity_;
  std::unique_ptr<FileLock> lock_;
  StartId start_;
  bool founder_ = true;
  bool log_made_ = false;
  std::map<ReplicaId, StartId> peers_;
};

}  // namespace terrane::replication
