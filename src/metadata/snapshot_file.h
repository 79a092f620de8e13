// The metadata state as one file: what survives a restart, and what a checkpoint holds.
//
// Format, all numbers little endian:
//   "TERRMETA"  8 bytes
//   version     4 bytes, 1
//   applied     8 bytes, position in the log of the last entry whose effect it holds
//   length      8 bytes, of the payload
//   payload     a serialized v1::MetadataState
//   checksum    8 bytes, XXH3-64 of everything before
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "terrane/v1/metadata_state.pb.h"

namespace terrane::metadata {

inline constexpr std::string_view kSnapshotFileName = "metadata.snapshot";
inline constexpr uint32_t kSnapshotVersion = 1;

struct Snapshot {
  Position applied;
  v1::MetadataState state;
};

// Replaces the file: written beside it, synced, renamed, the directory synced. Durable on return; after a crash the old
// one or the new one is there, whole.
absl::Status WriteSnapshotFile(const std::filesystem::path& file, const Snapshot& snapshot);

// kNotFound: no such file. kDataLoss: it is damaged, the message says where. kFailedPrecondition: a newer version wrote
// it.
absl::StatusOr<Snapshot> ReadSnapshotFile(const std::filesystem::path& file);

}  // namespace terrane::metadata
