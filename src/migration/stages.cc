#include "migration/stages.h"

namespace terrane::migration {

Edge EdgeBetween(Stage from, Stage to) {
  if (to == Stage::kAborting) return BeforeCommit(from) ? Edge::kEndAttempt : Edge::kNone;
  switch (from) {
    case Stage::kPlanned:
      return to == Stage::kPreparing ? Edge::kAdvance : Edge::kNone;
    case Stage::kPreparing:
      return to == Stage::kCopying ? Edge::kAdvance : Edge::kNone;
    case Stage::kCopying:
      return to == Stage::kCatchingUp ? Edge::kAdvance : Edge::kNone;
    case Stage::kCatchingUp:
      return to == Stage::kVerifying ? Edge::kAdvance : Edge::kNone;
    case Stage::kVerifying:
      return to == Stage::kFencing ? Edge::kAdvance : Edge::kNone;
    case Stage::kFencing:
      if (to == Stage::kCommitted) return Edge::kCommit;
      return to == Stage::kCatchingUp ? Edge::kEndAttempt : Edge::kNone;
    case Stage::kCommitted:
      return to == Stage::kReversible ? Edge::kAdvance : Edge::kNone;
    case Stage::kReversible:
      return to == Stage::kCleaning || to == Stage::kRollingBack ? Edge::kAdvance : Edge::kNone;
    case Stage::kCleaning:
      return to == Stage::kDone ? Edge::kAdvance : Edge::kNone;
    case Stage::kRollingBack:
      return to == Stage::kRolledBack ? Edge::kAdvance : Edge::kNone;
    case Stage::kAborting:
      return to == Stage::kAborted ? Edge::kAdvance : Edge::kNone;
    case Stage::kDone:
    case Stage::kAborted:
    case Stage::kRolledBack:
      return Edge::kNone;
  }
  return Edge::kNone;
}

bool IsEnded(Stage stage) {
  return stage == Stage::kDone || stage == Stage::kAborted || stage == Stage::kRolledBack;
}

bool BeforeCommit(Stage stage) {
  return static_cast<int>(stage) <= static_cast<int>(Stage::kFencing);
}

std::string_view NameOf(Stage stage) {
  switch (stage) {
    case Stage::kPlanned:
      return "planned";
    case Stage::kPreparing:
      return "preparing";
    case Stage::kCopying:
      return "copying";
    case Stage::kCatchingUp:
      return "catching_up";
    case Stage::kVerifying:
      return "verifying";
    case Stage::kFencing:
      return "fencing";
    case Stage::kCommitted:
      return "committed";
    case Stage::kReversible:
      return "reversible";
    case Stage::kCleaning:
      return "cleaning";
    case Stage::kDone:
      return "done";
    case Stage::kAborting:
      return "aborting";
    case Stage::kAborted:
      return "aborted";
    case Stage::kRollingBack:
      return "rolling_back";
    case Stage::kRolledBack:
      return "rolled_back";
  }
  return "unknown";
}

bool ParseStage(std::string_view name, Stage* stage) {
  for (Stage candidate : kAllStages) {
    if (NameOf(candidate) != name) continue;
    *stage = candidate;
    return true;
  }
  return false;
}

Stage StageOf(const v1::Migration& record) {
  return static_cast<Stage>(record.stage());
}

v1::Migration::Stage ToProto(Stage stage) {
  return static_cast<v1::Migration::Stage>(stage);
}

bool IsKnownStage(int value) {
  return v1::Migration::Stage_IsValid(value);
}

}  // namespace terrane::migration
