#include "support/linearizability.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "support/linearizability_search.h"

namespace terrane::testing {
namespace {

using linearizability::Failure;
using linearizability::Judge;
using Type = Operation::Type;

constexpr size_t kLinesShown = 30;
constexpr int64_t kStepsToShorten = 20'000'000;

// Makes a wrong history shorter as long as it stays wrong. Each step would keep a right one right:
//   - a read or a comparison that failed is left out, or a write whose value nobody (that is left) saw, if no
//   comparison
//     failed, perhaps because of it;
//   - an element of a list is left out everywhere;
//   - an addition that returned before all reads began counts into the initial sum.
class Shortening {
 public:
  explicit Shortening(DocumentHistory history) : history_(std::move(history)) {}

  // `until`: the return of what fits nowhere; later events are none of its business.
  DocumentHistory Run(std::chrono::nanoseconds until) {
    DocumentHistory prefix = history_;
    std::erase_if(prefix.operations, [&](const Operation& one) {
      return one.invoked > until || (one.type == Type::kRead && one.returned > until);
    });
    for (Operation& one : prefix.operations) {
      if (one.returned > until) {
        one.returned = Operation::kNever;
        one.applied = true;
      }
    }
    (void)Try(std::move(prefix));
    std::sort(history_.operations.begin(), history_.operations.end(),
              [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; });
    for (bool shorter = true; shorter && steps_ > 0;) {
      const size_t before = history_.operations.size();
      for (size_t chunk = std::max<size_t>(before / 2, 1);; chunk /= 2) {
        // Reads first: then nobody sees the writes.
        LeaveOut(chunk, [](const Operation& one) { return one.type == Type::kRead; });
        LeaveOut(chunk, [](const Operation& one) { return one.type != Type::kRead; });
        if (chunk <= 1) break;
      }
      shorter = history_.operations.size() < before;
    }
    return history_;
  }

 private:
  bool Try(DocumentHistory shorter) {
    if (steps_ <= 0) return false;
    const auto failures = Judge(shorter, &steps_);
    if (!failures.ok() || failures->empty()) return false;
    history_ = std::move(shorter);
    return true;
  }

  // Tries to leave out `chunk` operations at a time, the last ones first.
  template <typename Chosen>
  void LeaveOut(size_t chunk, Chosen chosen) {
    std::vector<size_t> candidates;
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      if (chosen(history_.operations[i])) candidates.push_back(i);
    }
    while (!candidates.empty() && steps_ > 0) {
      const size_t first = candidates.size() - std::min(chunk, candidates.size());
      (void)Try(Without({candidates.begin() + static_cast<std::ptrdiff_t>(first), candidates.end()}));
      candidates.resize(first);
    }
  }

  // Those of `gone` that may be left out are.
  DocumentHistory Without(const std::set<size_t>& gone) const {
    std::set<int64_t> seen;  // values that somebody who stays has seen
    auto first_read = Operation::kNever;
    bool compared = false;
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      const Operation& one = history_.operations[i];
      const bool failed = one.type == Type::kCompareAndSet && !one.unknown() && !one.applied;
      const bool stays = !gone.contains(i) || (one.type == Type::kCompareAndSet && !failed);
      if (stays && one.type == Type::kRead) first_read = std::min(first_read, one.invoked);
      if (stays && one.type == Type::kRead) seen.insert(one.value);
      if (stays && one.type == Type::kCompareAndSet) {
        seen.insert(one.expected);
        compared = compared || failed;
      }
    }
    DocumentHistory result{history_.name, history_.model, history_.initial, {}};
    std::set<int64_t> elements;
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      const Operation& one = history_.operations[i];
      if (gone.contains(i)) {
        if (one.type == Type::kRead) continue;
        if (one.type == Type::kCompareAndSet && !one.unknown() && !one.applied) continue;
        if (one.type == Type::kWrite && !compared && !seen.contains(one.value)) continue;
        if (one.type == Type::kPush) {
          elements.insert(one.value);
          continue;
        }
        if (one.type == Type::kAdd && one.returned < first_read) {
          result.initial += one.value;
          continue;
        }
      }
      result.operations.push_back(one);
    }
    if (elements.empty()) return result;
    for (Operation& one : result.operations) {
      std::erase_if(one.list, [&](int64_t element) { return elements.contains(element); });
    }
    return result;
  }

  DocumentHistory history_;
  int64_t steps_ = kStepsToShorten;
};

}  // namespace

DocumentHistory linearizability::Shorten(const DocumentHistory& history, std::chrono::nanoseconds until) {
  return Shortening(history).Run(until);
}

namespace {

std::string Line(const Operation& one, Model model, std::chrono::nanoseconds start, bool marked) {
  const auto text = [&](std::chrono::nanoseconds at) {
    return absl::StrFormat("%12.6f", std::chrono::duration<double>(at - start).count());
  };
  return absl::StrFormat("%s %s .. %s s  client %-3d %s%s\n", marked ? ">" : " ", text(one.invoked),
                         one.unknown() ? "           ?" : text(one.returned), one.client, Describe(one, model),
                         one.unknown() ? "  (outcome unknown)" : "");
}

std::string Report(const DocumentHistory& history, const Failure& found) {
  auto start = Operation::kNever;
  for (const Operation& one : history.operations) start = std::min(start, one.invoked);

  int64_t steps = kStepsToShorten;
  const Operation& culprit = history.operations[found.operation];
  auto until = culprit.returned;
  for (size_t other : found.others) {
    const Operation& one = history.operations[other];
    until = std::max(until, one.unknown() ? one.invoked : one.returned);
  }
  DocumentHistory shown = linearizability::Shorten(history, until);
  const auto failures = Judge(shown, &steps);
  const Failure& failure = failures.ok() && !failures->empty() ? failures->front() : found;

  std::set<size_t> marked(failure.others.begin(), failure.others.end());
  marked.insert(failure.operation);
  std::vector<size_t> order(shown.operations.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return shown.operations[a].invoked < shown.operations[b].invoked; });
  const size_t skipped = order.size() > kLinesShown ? order.size() - kLinesShown : 0;
  std::string text =
      StrCat(history.name, " (a ", ModelName(history.model), ", ", history.operations.size(),
             " operations) is not linearizable: \"", Describe(shown.operations[failure.operation], history.model),
             "\" fits nowhere: ", failure.why, "\n");
  if (history.model != Model::kList) StrAppend(&text, "  it begins with ", shown.initial, "\n");
  if (skipped > 0) StrAppend(&text, "  ", skipped, " operations before are not shown\n");
  for (size_t i = 0; i < order.size(); ++i) {
    const bool is_marked = marked.contains(order[i]);
    if (i >= skipped || is_marked) text += Line(shown.operations[order[i]], history.model, start, is_marked);
  }
  return text;
}

}  // namespace

absl::Status CheckLinearizable(const DocumentHistory& history, const CheckLimits& limits) {
  int64_t steps = limits.steps;
  const auto failures = Judge(history, &steps);
  if (!failures.ok()) return Annotate(failures.status(), history.name);
  return failures->empty() ? absl::OkStatus() : DataLoss(Report(history, failures->front()));
}

absl::Status CheckLinearizable(const std::vector<DocumentHistory>& histories, const CheckLimits& limits) {
  for (const DocumentHistory& history : histories) {
    TERRANE_RETURN_IF_ERROR(CheckLinearizable(history, limits));
  }
  return absl::OkStatus();
}

}  // namespace terrane::testing
