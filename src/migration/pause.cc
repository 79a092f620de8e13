#include "migration/pause.h"

#include <algorithm>

namespace terrane::migration {
namespace {

// A target that has had nothing to apply yet is taken to be slow rather than infinitely fast.
constexpr double kAssumedEntriesPerSecond = 5000;

}  // namespace

Milliseconds PredictDrain(int64_t lag_entries, double apply_entries_per_s) {
  double rate = apply_entries_per_s > 0 ? apply_entries_per_s : kAssumedEntriesPerSecond;
  return Milliseconds(1000.0 * static_cast<double>(std::max<int64_t>(lag_entries, 0)) / rate);
}

Milliseconds PredictPause(const SwitchCosts& costs) {
  return PredictDrain(costs.lag_entries, costs.apply_entries_per_s) + costs.source_step + costs.target_step +
         costs.metadata_commit;
}

}  // namespace terrane::migration
