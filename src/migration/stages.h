// The stages of a move and the ways between them. Pure, thread-safe.
//
//   planned -> preparing -> copying -> catching_up -> verifying -> fencing -> committed -> reversible -> cleaning ->
//   done
//                                           ^-- end of an attempt --'                          |
//                                                                                        rolling_back -> rolled_back
//        any stage before committed -> aborting -> aborted
//
// The record of a migration (v1::Migration) is in exactly one stage; a stage is committed in the metadata service
// before anybody acts on it.
#pragma once

#include <string>
#include <string_view>

#include "terrane/v1/metadata_state.pb.h"

namespace terrane::migration {

enum class Stage {
  kPlanned = 0,     // waits for its turn: the shards have a limit of moves
  kPreparing = 1,   // the source pins its oplog, the target makes an empty copy
  kCopying = 2,     // the target pulls segments
  kCatchingUp = 3,  // the target tails the source's oplog
  kVerifying = 4,   // both sides hash what is on disk; then wait until a switch fits its budget
  kFencing = 5,     // F, K, G, and the commit
  kCommitted = 6,   // the target owns the chunk; both shards are being told
  kReversible = 7,  // the old copy is kept for a window (0 today)
  kCleaning = 8,    // the old copy is being removed
  kDone = 9,        // ended
  kAborting = 10,   // both shards are being told that it is over; the target's copy is being removed
  kAborted = 11,    // ended
  kRollingBack = 12,
  kRolledBack = 13,  // ended
};

// All of them, in order.
inline constexpr Stage kAllStages[] = {Stage::kPlanned,     Stage::kPreparing, Stage::kCopying,   Stage::kCatchingUp,
                                       Stage::kVerifying,   Stage::kFencing,   Stage::kCommitted, Stage::kReversible,
                                       Stage::kCleaning,    Stage::kDone,      Stage::kAborting,  Stage::kAborted,
                                       Stage::kRollingBack, Stage::kRolledBack};

// Which command of the metadata service takes a record from one stage to another.
enum class Edge {
  kNone,        // no way
  kAdvance,     // AdvanceMigration
  kEndAttempt,  // EndAttempt: a fence is given up, or the whole move
  kCommit,      // CommitMigration: the point of no return
};

Edge EdgeBetween(Stage from, Stage to);

// The move is over; its record changes no more.
bool IsEnded(Stage stage);
// The source owns the chunk and the move can still be aborted.
bool BeforeCommit(Stage stage);

// "catching_up": as in logs, settings and for people.
std::string_view NameOf(Stage stage);
// The stage of that name; false if there is none.
bool ParseStage(std::string_view name, Stage* stage);

Stage StageOf(const v1::Migration& record);
v1::Migration::Stage ToProto(Stage stage);
// False for a number that a newer version wrote.
bool IsKnownStage(int value);

}  // namespace terrane::migration
