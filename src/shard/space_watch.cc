#include "shard/space_watch.h"

#include <algorithm>
#include <utility>

#include "common/logging.h"
#include "common/units.h"

namespace terrane::shard {
namespace {

// For how long "nobody has space" is believed.
constexpr std::chrono::seconds kBelieved{3};

}  // namespace

SpaceWatch::SpaceWatch(Options options)
    : options_(std::move(options)), loop_(std::make_unique<Periodic>(options_.interval, [this] { Run(); })) {}

bool SpaceWatch::MayHandOn(uint64_t needed) {
  if (options_.others().empty()) return false;
  if (!options_.leads()) return true;
  {
    std::lock_guard lock(mutex_);
    if (nobody_had_ && options_.clock->Now() - *nobody_had_ < kBelieved) return false;
    needed_ = std::max(needed_.value_or(0), needed);
  }
  loop_->Poke();
  return true;
}

void SpaceWatch::Run() {
  std::optional<uint64_t> needed;
  {
    std::lock_guard lock(mutex_);
    needed = std::exchange(needed_, std::nullopt);
    if (!options_.leads()) {
      nobody_had_.reset();
      return;
    }
  }
  const auto usage = options_.disk();
  if (!usage.ok() || (!needed && usage->free_bytes >= usage->reserve_bytes)) return;
  const bool handed_on = HandOn(*usage, needed.value_or(0));
  std::lock_guard lock(mutex_);
  nobody_had_ = handed_on ? std::nullopt : std::optional(options_.clock->Now());
}

bool SpaceWatch::HandOn(const storage::DiskUsage& usage, uint64_t needed) {
  // Somewhat more than the least, or it would soon be handed on again.
  const uint64_t enough = usage.reserve_bytes + usage.reserve_bytes / 4 + 3 * needed;
  for (const PeerReplica& peer : options_.others()) {
    if (!peer.voter) continue;
    const auto free = options_.free_bytes(peer);
    if (!free.ok() || *free < enough || !options_.hand_on(peer.replica).ok()) continue;
    LogWarn("shard", "the disk is below its reserve: leadership goes to a replica that has space",
            {{"disk", usage.disk},
             {"free", FormatBytes(static_cast<int64_t>(usage.free_bytes))},
             {"reserve", FormatBytes(static_cast<int64_t>(usage.reserve_bytes))},
             {"to", peer.replica},
             {"free_there", FormatBytes(static_cast<int64_t>(*free))}});
    return true;
  }
  return false;
}

}  // namespace terrane::shard
