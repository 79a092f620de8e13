// Is the history of a document linearizable: is there one order of its operations, each at one moment between its
// invocation and its return, that explains every answer?
//
// Each document is judged on its own (linearizability is local). The search goes through the events in the order of
// time and keeps every state that the document can be in, together with which of the running operations have happened
// in it; an operation is placed only when it must be, because it returns (Lowe's just-in-time form of Wing and Gong's
// search). What makes it quick, and does not change the verdict:
//   - an answer that changes nothing is placed as soon as it fits;
//   - the values of registers and elements of lists are unique, so that an unknown outcome that anybody saw is known to
//     have happened before that, and one that nobody saw matters only to a comparison that failed;
//   - unknown outcomes with the same effect are interchangeable: only their number is kept, and fewer is better;
//   - additions of the same amount happen in the order of their returns, unknown ones last.
// linearizability_test.cc compares it with a search through all orders.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "support/history.h"

namespace terrane::testing {

struct CheckLimits {
  int64_t steps = 200'000'000;  // of the search, for one document
};

// OK: linearizable. Else
//   kDataLoss           it is not; the message names the operation that fits nowhere, and shows as few others as are
//                       needed to see it
//   kResourceExhausted  not decided within the limits. Not a pass
//   kInvalidArgument    the history is none of its model (a value written twice, a return before the invocation)
absl::Status CheckLinearizable(const DocumentHistory& history, const CheckLimits& limits = {});
// All of them; the first that is not OK.
absl::Status CheckLinearizable(const std::vector<DocumentHistory>& histories, const CheckLimits& limits = {});

}  // namespace terrane::testing
