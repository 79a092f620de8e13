// Lists, splits and moves chunks, and answers about moves: validates and proposes; the coordinator does the moving.
// All functions block: for workers. They are for the leader; others answer kUnavailable with NOT_LEADER. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "metadata/waiting.h"
#include "terrane/v1/cluster.pb.h"

namespace terrane::migration {
class Coordinator;
}

namespace terrane::metadata {

class Node;

class ChunkFrontend {
 public:
  // Both outlive it.
  ChunkFrontend(Node* node, migration::Coordinator* coordinator) : node_(node), coordinator_(coordinator) {}

  absl::StatusOr<v1::ListChunksResponse> List(const v1::ListChunksRequest& request, MonotonicTime deadline);
  // The shard has until `deadline` to read the chunk.
  //   kFailedPrecondition with MIGRATION_CONFLICT  the chunk moves (trap T42); also from the other side: it is not
  //   moved
  //                                                while it is split
  //   kFailedPrecondition                          it is being split elsewhere. The same split is waited for, and its
  //                                                answer is the answer; only if that had less time it is tried again
  //   kDeadlineExceeded                            the shard may have split it all the same. A repetition finds that
  absl::StatusOr<v1::SplitChunkResponse> Split(const v1::SplitChunkRequest& request, MonotonicTime deadline);
  // Registers a move. The same request_id again gets the same one (trap T41).
  absl::StatusOr<v1::MoveChunkResponse> Move(const v1::MoveChunkRequest& request, MonotonicTime deadline);

  absl::StatusOr<v1::ListMigrationsResponse> ListMigrations(const v1::ListMigrationsRequest& request,
                                                            MonotonicTime deadline);
  absl::StatusOr<v1::ShowMigrationResponse> ShowMigration(const v1::ShowMigrationRequest& request,
                                                          MonotonicTime deadline);
  absl::StatusOr<v1::AbortMigrationResponse> AbortMigration(const v1::AbortMigrationRequest& request,
                                                            MonotonicTime deadline);

 private:
  using ChunkName = std::pair<uint32_t, std::string>;  // collection, range.min

  using SplitAnswer = absl::StatusOr<v1::SplitChunkResponse>;
  struct RunningSplit {
    std::string at;
    Waiting<SplitAnswer> answer;
  };

  absl::StatusOr<v1::Chunk> FindChunk(const std::string& collection, const std::string& key);
  // The split that has begun with this, or that ran already (`joined`). kFailedPrecondition: not now.
  absl::StatusOr<RunningSplit> BeginSplit(const v1::Chunk& chunk, const std::string& at, bool* joined);
  SplitAnswer RunSplit(const v1::Chunk& chunk, const v1::SplitChunkRequest& request, MonotonicTime deadline);
  void EndSplit(const v1::Chunk& chunk, const RunningSplit& running, SplitAnswer answer);

  Node* const node_;
  migration::Coordinator* const coordinator_;
  // Keeps splits of a chunk apart from each other and from the beginning of moves: no chunk is in both.
  std::mutex mutex_;
  std::map<ChunkName, RunningSplit> splits_;
  std::map<ChunkName, int> moves_;  // how many are being registered
};

}  // namespace terrane::metadata
