// A replica whose directory is lost or damaged, in a group that goes on without it: begins again from its peers. Damage
// is found at the start, or met later by a read, a write or a compaction of the store; a failing disk is no damage and
// ends the process.
//
// What is there is set aside (data/raft.damaged, data/store.damaged; one generation, for a look), and the server starts
// again in the same process, on the same address, with an empty directory and no vote (docs/raft.md, "Members and their
// directories"). A group of one has nobody to begin from: its start is refused, or its process ends.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "shard/server.h"

namespace terrane::shard {

// One life of the server. `options.on_rejoin` is set.
using StartServer = std::function<absl::StatusOr<std::unique_ptr<ShardServer>>(ShardServerOptions options)>;

// The server of a replica in a group of several. Errors as ShardServer::Start, but that of a damaged directory
// (kDataLoss). If it cannot begin again later, the process ends with the exit code of a refused start.
absl::StatusOr<std::unique_ptr<ShardServer>> StartRejoining(ShardServerOptions options, StartServer start);

// Moves log and data out of the way, replacing what was set aside before. Durable on return.
absl::Status SetAside(const std::filesystem::path& directory);

}  // namespace terrane::shard
