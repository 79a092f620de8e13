#include "support/linearizability_search.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "common/status.h"

namespace terrane::testing::linearizability {
namespace {

using Needs = Step::Needs;
using Does = Step::Does;

// How many of an Optional have happened; by index in Problem::optional, ascending, without zeros.
using Used = std::vector<std::pair<uint32_t, uint32_t>>;

uint32_t UsedOf(const Used& used, uint32_t which) {
  for (const auto& [index, count] : used) {
    if (index == which) return count;
  }
  return 0;
}

void Use(Used* used, uint32_t which, uint32_t more) {
  auto at = std::lower_bound(used->begin(), used->end(), std::pair<uint32_t, uint32_t>(which, 0));
  if (at == used->end() || at->first != which) at = used->insert(at, {which, 0});
  at->second += more;
}

// Whoever has used no more can do whatever the other can.
bool NoMore(const Used& a, const Used& b) {
  return std::all_of(a.begin(), a.end(), [&](const auto& one) { return one.second <= UsedOf(b, one.first); });
}

// One way in which everything so far may have happened.
struct Config {
  int64_t state = 0;
  uint64_t done = 0;  // by slot: of the running operations
  Used used;
};

// Configs of which none makes another superfluous.
class ConfigSet {
 public:
  // False: there is one already that can do as much.
  bool Add(const Config& config) {
    std::vector<Used>& list = by_state_[{config.state, config.done}];
    for (const Used& other : list) {
      if (NoMore(other, config.used)) return false;
    }
    std::erase_if(list, [&](const Used& other) { return NoMore(config.used, other); });
    list.push_back(config.used);
    return true;
  }
  std::vector<Config> Take() {
    std::vector<Config> all;
    for (auto& [key, list] : by_state_) {
      for (Used& used : list) all.push_back({key.first, key.second, std::move(used)});
    }
    by_state_.clear();
    return all;
  }

 private:
  absl::flat_hash_map<std::pair<int64_t, uint64_t>, std::vector<Used>> by_state_;
};

class Search {
 public:
  Search(const Problem& problem, int64_t* steps) : problem_(problem), steps_(steps) {
    for (uint32_t i = 0; i < problem.optional.size(); ++i) {
      const Step& step = problem.optional[i].step;
      if (step.does == Does::kAdds) {
        additions_.push_back(i);
      } else if (step.needs == Needs::kNothing) {
        blind_ = i;
      } else {
        comparing_.emplace(step.operand, i);
      }
    }
    started_.assign(problem.optional.size(), 0);
  }

  absl::StatusOr<std::vector<Failure>> Run() {
    struct Event {
      int64_t at;
      bool returns;  // at the same moment everything is invoked before anything returns
      size_t item;
      auto operator<=>(const Event&) const = default;
    };
    std::vector<Event> events;
    for (size_t i = 0; i < problem_.placed.size(); ++i) {
      events.push_back({problem_.placed[i].invoked, false, i});
      events.push_back({problem_.placed[i].returned, true, i});
    }
    std::sort(events.begin(), events.end());
    configs_ = {Config{problem_.initial, 0, {}}};
    for (const Event& event : events) {
      StartOptional(event.at);
      if (!event.returns) {
        TERRANE_RETURN_IF_ERROR(Invoke(event.item));
      } else {
        TERRANE_RETURN_IF_ERROR(Return(event.item));
        if (configs_.empty()) return std::vector<Failure>{FailureOf(event.item)};
      }
    }
    return std::vector<Failure>();
  }

 private:
  struct Running {
    size_t item = 0;
    Step step;
    int64_t returned = 0;
  };

  void StartOptional(int64_t now) {
    for (size_t i = 0; i < started_.size(); ++i) {
      const std::vector<int64_t>& invoked = problem_.optional[i].invoked;
      while (started_[i] < invoked.size() && invoked[started_[i]] <= now) ++started_[i];
    }
  }
  uint32_t Left(const Config& config, uint32_t which) const { return started_[which] - UsedOf(config.used, which); }

  absl::Status Invoke(size_t item) {
    int slot = 0;
    while (slot < 64 && (occupied_ >> slot & 1) != 0) ++slot;
    if (slot == 64) return absl::ResourceExhaustedError("not decided: more than 64 operations at the same time");
    occupied_ |= Bit(slot);
    const Placed& placed = problem_.placed[item];
    running_[static_cast<size_t>(slot)] = {item, placed.step, placed.returned};
    if (placed.step.does != Does::kNothing) return absl::OkStatus();
    for (Config& config : configs_) {
      if (placed.step.Fits(config.state)) config.done |= Bit(slot);
    }
    return absl::OkStatus();
  }

  static uint64_t Bit(int slot) { return uint64_t{1} << slot; }
  template <typename Fn>
  void ForEachOpen(const Config& config, Fn fn) const {
    for (uint64_t open = occupied_ & ~config.done; open != 0; open &= open - 1) {
      const int slot = __builtin_ctzll(open);
      fn(slot, running_[static_cast<size_t>(slot)]);
    }
  }

  // What changes nothing and fits now has happened.
  void Settle(Config* config) const {
    uint64_t settled = 0;
    ForEachOpen(*config, [&](int slot, const Running& running) {
      if (running.step.does == Does::kNothing && running.step.Fits(config->state)) settled |= Bit(slot);
    });
    config->done |= settled;
  }

  absl::Status Return(size_t item) {
    int slot = 0;
    while ((occupied_ & Bit(slot)) == 0 || running_[static_cast<size_t>(slot)].item != item) ++slot;
    before_.clear();
    ConfigSet next;
    ConfigSet visited;
    std::vector<Config> open;
    const auto reach = [&](Config config) {
      if ((config.done & Bit(slot)) != 0) {
        config.done &= ~Bit(slot);
        next.Add(config);
      } else if (visited.Add(config)) {
        open.push_back(std::move(config));
      }
    };
    for (Config& config : configs_) {
      if (before_.size() < kStatesShown) before_.push_back(config.state);
      reach(std::move(config));
    }
    while (!open.empty()) {
      const Config config = std::move(open.back());
      open.pop_back();
      if (--*steps_ < 0) return absl::ResourceExhaustedError("not decided within the limit of steps");
      TakePlaced(config, reach);
      TakeOptional(config, reach);
    }
    if (*steps_ < 0) return absl::ResourceExhaustedError("not decided within the limit of steps");
    occupied_ &= ~Bit(slot);
    configs_ = next.Take();
    *steps_ -= static_cast<int64_t>(configs_.size());
    return absl::OkStatus();
  }

  // Every running operation that changes something may be the next.
  template <typename Reach>
  void TakePlaced(const Config& config, const Reach& reach) const {
    ForEachOpen(config, [&](int slot, const Running& running) {
      if (running.step.does == Does::kNothing || !running.step.Fits(config.state)) return;
      if (running.step.does == Does::kAdds && !IsFirstOfItsAmount(config, slot, running)) return;
      Config taken = config;
      taken.done |= Bit(slot);
      taken.state = running.step.After(config.state);
      Settle(&taken);
      reach(std::move(taken));
    });
  }

  // Additions of one amount are interchangeable: the one that returns first goes first.
  bool IsFirstOfItsAmount(const Config& config, int slot, const Running& running) const {
    bool first = true;
    ForEachOpen(config, [&](int other, const Running& rival) {
      if (rival.step != running.step || other == slot) return;
      first = first && std::pair(running.returned, slot) < std::pair(rival.returned, other);
    });
    return first;
  }

  // Unknown outcomes are taken only right before an answer that needs them.
  template <typename Reach>
  void TakeOptional(const Config& config, const Reach& reach) const {
    if (problem_.optional.empty()) return;
    std::vector<int64_t> sums;
    bool compared = false;  // a comparison failed although the state is what it expected
    ForEachOpen(config, [&](int, const Running& running) {
      if (running.step.does != Does::kNothing) return;
      if (running.step.needs == Needs::kEquals && running.step.operand > config.state) {
        sums.push_back(running.step.operand);
      }
      compared = compared || (running.step.needs == Needs::kDiffers && running.step.operand == config.state);
    });
    if (compared) {
      if (blind_) TakeOne(config, *blind_, reach);
      const auto own = comparing_.find(config.state);
      if (own != comparing_.end()) TakeOne(config, own->second, reach);
    }
    std::sort(sums.begin(), sums.end());
    sums.erase(std::unique(sums.begin(), sums.end()), sums.end());
    for (int64_t sum : sums) TakeSum(config, config, sum, 0, reach);
  }

  template <typename Reach>
  void TakeOne(const Config& config, uint32_t which, const Reach& reach) const {
    if (Left(config, which) == 0) return;
    Config taken = config;
    Use(&taken.used, which, 1);
    taken.state = problem_.optional[which].step.After(config.state);
    Settle(&taken);
    reach(std::move(taken));
  }

  // All ways in which additions from number `from` on lead to `sum`.
  template <typename Reach>
  void TakeSum(const Config& config, const Config& so_far, int64_t sum, size_t from, const Reach& reach) const {
    if (so_far.state == sum) {
      Config taken = so_far;
      Settle(&taken);
      return reach(std::move(taken));
    }
    if (from == additions_.size() || --*steps_ < 0) return;
    const uint32_t which = additions_[from];
    const Step& step = problem_.optional[which].step;
    TakeSum(config, so_far, sum, from + 1, reach);
    bool known_first = false;
    ForEachOpen(config, [&](int, const Running& running) { known_first = known_first || running.step == step; });
    if (known_first) return;
    Config taken = so_far;
    for (uint32_t left = Left(so_far, which); left > 0 && taken.state + step.value <= sum; --left) {
      Use(&taken.used, which, 1);
      taken.state += step.value;
      TakeSum(config, taken, sum, from + 1, reach);
    }
  }

  Failure FailureOf(size_t item) const {
    std::vector<int64_t> states = before_;
    std::sort(states.begin(), states.end());
    states.erase(std::unique(states.begin(), states.end()), states.end());
    std::string list;
    for (int64_t state : states) {
      StrAppend(&list, list.empty() ? "" : ", ",
                state == kAnotherValue ? std::string("a value of an unknown outcome") : StrCat(state));
    }
    if (before_.size() >= kStatesShown) list += " and so on";
    return {problem_.placed[item].operation, {}, StrCat("before the running operations the state was ", list)};
  }

  static constexpr size_t kStatesShown = 8;
  const Problem& problem_;
  int64_t* const steps_;
  std::vector<uint32_t> additions_;        // indices in Problem::optional, by their kind
  std::optional<uint32_t> blind_;          //   a write of any value
  std::map<int64_t, uint32_t> comparing_;  //   a compare-and-set, by what it expects
  std::vector<uint32_t> started_;          // how many of each Optional are invoked by now
  std::vector<Config> configs_;            // all that is possible by now
  std::array<Running, 64> running_;        // by slot
  uint64_t occupied_ = 0;                  // slots
  std::vector<int64_t> before_;            // some states before the last return
};

}  // namespace

bool Step::Fits(int64_t state) const {
  switch (needs) {
    case Needs::kNothing:
      return true;
    case Needs::kEquals:
      return state == operand;
    case Needs::kDiffers:
      return state != operand;
    case Needs::kAtLeast:
      return state >= operand;
  }
  return false;
}

int64_t Step::After(int64_t state) const {
  return does == Does::kNothing ? state : (does == Does::kAssigns ? value : state + value);
}

absl::StatusOr<std::vector<Failure>> Solve(const Problem& problem, int64_t* steps) {
  if (!problem.failures.empty()) return problem.failures;
  return Search(problem, steps).Run();
}

absl::StatusOr<std::vector<Failure>> Judge(const DocumentHistory& history, int64_t* steps) {
  TERRANE_ASSIGN_OR_RETURN(const Problem problem, Translate(history));
  return Solve(problem, steps);
}

}  // namespace terrane::testing::linearizability
