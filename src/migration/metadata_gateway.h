// How the coordinator reads and changes the metadata service that it runs in. Implemented by src/metadata.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "migration/next_step.h"

namespace terrane::migration {

// Thread-safe. Reads answer from what is applied on this node: committed, perhaps not the newest. That is enough: a
// record that was committed once is evidence, and whatever is done on an old one is refused where it takes effect.
class MetadataGateway {
 public:
  virtual ~MetadataGateway() = default;

  // Every migration that has not ended.
  virtual std::vector<v1::Migration> ActiveMigrations() = 0;
  virtual std::optional<v1::Migration> FindMigration(MigrationId id) = 0;
  // Names, keys and endpoints for a move; kNotFound if its collection is gone.
  virtual absl::StatusOr<MoveContext> ContextOf(const v1::Migration& record) = 0;
  // Value of a setting, or "".
  virtual std::string Setting(const std::string& name) = 0;

  // Proposes in `term`. `done` once, on any thread: the result of the applied command (which may be a refusal, as its
  // `code`), kUnavailable if it certainly never applies, kAborted if nobody can tell (trap T07).
  virtual void Propose(Term term, v1::MetadataCommand command,
                       std::function<void(absl::StatusOr<v1::CommandResult>)> done) = 0;
};

}  // namespace terrane::migration
