// The words of docs/architecture.md as types.
#pragma once

#include <cstdint>
#include <string>

#include "common/strong_id.h"

namespace terrane {

// Index in a shard's Raft log, 1 for the first entry; 0 means "before everything". The oplog is keyed by it.
using Position = StrongId<struct PositionTag>;
// Raft term.
using Term = StrongId<struct TermTag>;
// The chunk's version: grows by one in the metadata service when its owner changes and when a fence is given up.
using Token = StrongId<struct TokenTag>;
// One physical incarnation of a chunk on one shard; never reused in a cluster; 0 is none.
using CopyId = StrongId<struct CopyIdTag, uint32_t>;
// Handed out by the metadata service, growing; 0 is none.
using MigrationId = StrongId<struct MigrationIdTag>;
// Attempt of a migration, from 1.
using Attempt = StrongId<struct AttemptTag, uint32_t>;
// Handed out by the metadata service with `collection create`, never reused.
using CollectionId = StrongId<struct CollectionIdTag, uint32_t>;
// Revision of the metadata state: grows with every applied command.
using Revision = StrongId<struct RevisionTag>;

// Member of a Raft group, from 1; 0 is none.
using ReplicaId = StrongId<struct ReplicaIdTag>;

// Name of a shard, e.g. "s1".
using ShardName = std::string;

}  // namespace terrane
