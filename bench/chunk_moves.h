// What the sections about moves share.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/client.h"

namespace terrane::bench {

// A new collection with shard key {_id: "hashed"}; 0 chunks: the default number.
absl::Status CreateCollection(client::Client* client, const std::string& name, int chunks);

// Registers a move of the chunk and waits for its end; an error if it did not end in DONE.
absl::StatusOr<terrane::v1::Migration> MoveAndWait(client::Client* client, const std::string& collection,
                                                   const terrane::v1::Chunk& chunk, const std::string& target);

absl::StatusOr<std::vector<terrane::v1::Chunk>> ChunksOf(client::Client* client, const std::string& collection);

}  // namespace terrane::bench
