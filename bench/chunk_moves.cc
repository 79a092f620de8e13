#include "chunk_moves.h"

#include <thread>

#include "document/builder.h"

namespace terrane::bench {

using terrane::v1::Migration;

absl::Status CreateCollection(client::Client* client, const std::string& name, int chunks) {
  terrane::v1::CreateCollectionRequest create;
  create.set_name(name);
  create.set_chunks(chunks);
  return client->CreateCollection(create).status();
}

absl::StatusOr<Migration> MoveAndWait(client::Client* client, const std::string& collection,
                                      const terrane::v1::Chunk& chunk, const std::string& target) {
  constexpr std::chrono::milliseconds kAskAgain{10};
  terrane::v1::MoveChunkRequest request;
  request.set_collection(collection);
  request.set_key(chunk.range().min());
  request.set_target(target);
  TERRANE_ASSIGN_OR_RETURN(const auto registered, client->MoveChunk(request));
  while (true) {
    TERRANE_ASSIGN_OR_RETURN(const auto shown, client->ShowMigration(registered.migration().id()));
    const Migration& migration = shown.migration();
    if (migration.stage() == Migration::DONE) return migration;
    if (migration.stage() == Migration::ABORTED || migration.stage() == Migration::ROLLED_BACK) {
      return FailedPrecondition("move ", migration.id(), " was aborted: ", migration.reason());
    }
    std::this_thread::sleep_for(kAskAgain);
  }
}

absl::StatusOr<std::vector<terrane::v1::Chunk>> ChunksOf(client::Client* client, const std::string& collection) {
  TERRANE_ASSIGN_OR_RETURN(const auto listed, client->ListChunks(collection));
  std::vector<terrane::v1::Chunk> chunks;
  for (const auto& info : listed.chunks()) chunks.push_back(info.chunk());
  return chunks;
}

}  // namespace terrane::bench
