#include "metadata/settings.h"

#include <charconv>

#include "common/status.h"
#include "migration/coordinator.h"
#include "migration/stages.h"

namespace terrane::metadata {
namespace {

constexpr int kMaxMovesPerShard = 64;

absl::Status CheckNumber(const std::string& value, int least, int most) {
  int number = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || number < least || number > most) {
    return InvalidArgument("must be a number from ", least, " to ", most, ", not \"", value, "\"");
  }
  return absl::OkStatus();
}

absl::Status CheckPause(const std::string& value) {
  migration::Stage stage;
  const bool within_fencing = value == "fencing.complete" || value == "fencing.read_fence" || value == "fencing.commit";
  if (within_fencing || migration::ParseStage(value, &stage)) return absl::OkStatus();
  return InvalidArgument(
      "must be the name of a stage, or fencing.complete, fencing.read_fence or fencing.commit, not \"", value, "\"");
}

}  // namespace

absl::Status CheckSetting(const std::string& name, const std::string& value) {
  const bool limit = name == migration::kMovesPerShardSetting;
  const bool pause = name == migration::kPauseAtSetting;
  if (!limit && !pause) {
    return InvalidArgument("no setting ", name, ". Settings: ", migration::kMovesPerShardSetting, ", ",
                           migration::kPauseAtSetting);
  }
  if (value.empty()) return absl::OkStatus();
  return Annotate(limit ? CheckNumber(value, 1, kMaxMovesPerShard) : CheckPause(value), name);
}

}  // namespace terrane::metadata
