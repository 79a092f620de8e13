// How long a switch will hold writes up. Pure.
#pragma once

#include <chrono>
#include <cstdint>

namespace terrane::migration {

using Milliseconds = std::chrono::duration<double, std::milli>;

struct SwitchCosts {
  int64_t lag_entries = 0;          // of the source's oplog that the target has not applied
  double apply_entries_per_s = 0;   // of the target; 0: not known yet
  Milliseconds source_step{0};      // a logged step on the source: F
  Milliseconds target_step{0};      // a logged step on the target: K (G runs beside it)
  Milliseconds metadata_commit{0};  // the commit
};

// lag / apply rate + three syncs in a row.
Milliseconds PredictPause(const SwitchCosts& costs);
// The first part alone: how long the target needs for what it lacks.
Milliseconds PredictDrain(int64_t lag_entries, double apply_entries_per_s);

}  // namespace terrane::migration
