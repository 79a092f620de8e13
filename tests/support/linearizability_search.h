// Inside of the linearizability checker: a history as the search sees it, and the search. No reports.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "support/history.h"

namespace terrane::testing::linearizability {

// The state of every model is one number: a register's value, a counter's sum, how many elements of the final list are
// there. kAnotherValue: a register holds a value that nobody has seen.
inline constexpr int64_t kAnotherValue = INT64_MIN;

// What an operation needs of the state and does to it.
struct Step {
  enum class Needs { kNothing, kEquals, kDiffers, kAtLeast };
  enum class Does { kNothing, kAssigns, kAdds };
  Needs needs = Needs::kNothing;
  int64_t operand = 0;
  Does does = Does::kNothing;
  int64_t value = 0;

  bool Fits(int64_t state) const;
  int64_t After(int64_t state) const;
  bool operator==(const Step&) const = default;
};

// A step that happened between two moments. `returned` of an unknown outcome that was seen is the return of whoever
// saw it first.
struct Placed {
  Step step;
  int64_t invoked = 0;
  int64_t returned = 0;
  size_t operation = 0;  // in the history
};

// Unknown outcomes with the same step, which may happen or not.
struct Optional {
  Step step;
  std::vector<int64_t> invoked;  // ascending
};

// Why a history is wrong: `operation` fits nowhere.
struct Failure {
  size_t operation = 0;
  std::vector<size_t> others;  // that contradict it, where that is known
  std::string why;
};

struct Problem {
  int64_t initial = 0;
  std::vector<Placed> placed;
  std::vector<Optional> optional;
  std::vector<Failure> failures;  // seen without a search
};

// kInvalidArgument: not a history of the model.
absl::StatusOr<Problem> Translate(const DocumentHistory& history);

// No failure: linearizable. kResourceExhausted: not decided in *steps, which are counted down.
absl::StatusOr<std::vector<Failure>> Solve(const Problem& problem, int64_t* steps);

// A wrong history with as few operations as can be, still wrong. What happened after `until`, the return of what fits
// nowhere, is none of its business.
DocumentHistory Shorten(const DocumentHistory& history, std::chrono::nanoseconds until);

// Both.
absl::StatusOr<std::vector<Failure>> Judge(const DocumentHistory& history, int64_t* steps);

}  // namespace terrane::testing::linearizability
