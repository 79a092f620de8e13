#include <algorithm>
#include <map>
#include <optional>

#include "common/status.h"
#include "support/linearizability_search.h"

namespace terrane::testing::linearizability {
namespace {

using Type = Operation::Type;

// Steps of operations whose outcome is unknown, gathered by what they do.
class Gathered {
 public:
  void Add(const Step& step, int64_t invoked) {
    for (Optional& one : list_) {
      if (one.step == step) return one.invoked.push_back(invoked);
    }
    list_.push_back({step, {invoked}});
  }
  std::vector<Optional> Finish() {
    for (Optional& one : list_) std::sort(one.invoked.begin(), one.invoked.end());
    return std::move(list_);
  }

 private:
  std::vector<Optional> list_;
};

class Translation {
 public:
  explicit Translation(const DocumentHistory& history) : history_(history) {}

  absl::StatusOr<Problem> Run() {
    for (size_t i = 0; i < operations().size(); ++i) TERRANE_RETURN_IF_ERROR(CheckForm(i));
    problem_.initial = history_.model == Model::kList ? 0 : history_.initial;
    switch (history_.model) {
      case Model::kRegister:
        TERRANE_RETURN_IF_ERROR(Register());
        break;
      case Model::kCounter:
        Counter();
        break;
      case Model::kList:
        TERRANE_RETURN_IF_ERROR(List());
        break;
    }
    problem_.optional = optional_.Finish();
    return std::move(problem_);
  }

 private:
  const std::vector<Operation>& operations() const { return history_.operations; }
  std::string Text(size_t i) const { return Describe(operations()[i], history_.model); }

  absl::Status CheckForm(size_t i) const {
    const Operation& operation = operations()[i];
    bool of_model = operation.type == Type::kRead;
    switch (history_.model) {
      case Model::kRegister:
        of_model = of_model || operation.type == Type::kWrite || operation.type == Type::kCompareAndSet;
        break;
      case Model::kCounter:
        of_model = of_model || (operation.type == Type::kAdd && operation.value > 0);
        break;
      case Model::kList:
        of_model = of_model || operation.type == Type::kPush;
        break;
    }
    if (!of_model) return InvalidArgument(history_.name, ": ", Text(i), " is no operation of a ", Name());
    if (operation.type == Type::kRead && operation.unknown()) {
      return InvalidArgument(history_.name, ": a read without an answer");
    }
    if (operation.returned < operation.invoked) {
      return InvalidArgument(history_.name, ": ", Text(i), " returned before it was invoked");
    }
    return absl::OkStatus();
  }
  std::string_view Name() const { return ModelName(history_.model); }

  // Who brought a value into the world.
  absl::Status FindSources(std::initializer_list<Type> types) {
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (std::find(types.begin(), types.end(), operation.type) == types.end()) continue;
      if (operation.type == Type::kCompareAndSet && !operation.unknown() && !operation.applied) continue;
      const bool taken = history_.model == Model::kRegister &&
                         (operation.value == history_.initial || operation.value == kAnotherValue);
      if (taken || !sources_.emplace(operation.value, i).second) {
        return InvalidArgument(history_.name, ": ", Text(i), ": the value of a ", Name(), " must be written once");
      }
    }
    seen_.assign(operations().size(), std::nullopt);
    return absl::OkStatus();
  }

  // Somebody who returned at `by` saw `value`: its source happened before that, and saw what it needed itself.
  void Saw(size_t observer, int64_t value, int64_t by) {
    while (true) {
      if (history_.model == Model::kRegister && value == history_.initial) return;
      const auto source = sources_.find(value);
      if (source == sources_.end()) {
        problem_.failures.push_back({observer, {}, StrCat(value, " was written by nobody")});
        return;
      }
      const size_t i = source->second;
      const Operation& operation = operations()[i];
      if (operation.invoked.count() > by) {
        problem_.failures.push_back({observer, {i}, StrCat(value, " was seen before it was written")});
        return;
      }
      if (seen_[i] && *seen_[i] <= by) return;
      seen_[i] = by;
      if (operation.type != Type::kCompareAndSet || !operation.unknown()) return;
      value = operation.expected;
    }
  }

  void Place(size_t i, Step::Needs needs, int64_t operand, Step::Does does, int64_t value) {
    const Operation& operation = operations()[i];
    const int64_t returned = operation.unknown() ? *seen_[i] : operation.returned.count();
    problem_.placed.push_back({{needs, operand, does, value}, operation.invoked.count(), returned, i});
  }

  absl::Status Register() {
    TERRANE_RETURN_IF_ERROR(FindSources({Type::kWrite, Type::kCompareAndSet}));
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (operation.type == Type::kRead) Saw(i, operation.value, operation.returned.count());
      if (operation.type == Type::kCompareAndSet && !operation.unknown() && operation.applied) {
        Saw(i, operation.expected, operation.returned.count());
      }
    }
    using Needs = Step::Needs;
    using Does = Step::Does;
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      const bool happened = !operation.unknown() || seen_[i];
      switch (operation.type) {
        case Type::kRead:
          Place(i, Needs::kEquals, operation.value, Does::kNothing, 0);
          break;
        case Type::kWrite:
          if (happened) {
            Place(i, Needs::kNothing, 0, Does::kAssigns, operation.value);
          } else {
            optional_.Add({Needs::kNothing, 0, Does::kAssigns, kAnotherValue}, operation.invoked.count());
          }
          break;
        case Type::kCompareAndSet:
          if (!happened) {
            optional_.Add({Needs::kEquals, operation.expected, Does::kAssigns, kAnotherValue},
                          operation.invoked.count());
          } else if (operation.unknown() || operation.applied) {
            Place(i, Needs::kEquals, operation.expected, Does::kAssigns, operation.value);
          } else {
            Place(i, Needs::kDiffers, operation.expected, Does::kNothing, 0);
          }
          break;
        default:
          break;
      }
    }
    return absl::OkStatus();
  }

  void Counter() {
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (operation.type == Type::kRead) {
        Place(i, Step::Needs::kEquals, operation.value, Step::Does::kNothing, 0);
      } else if (!operation.unknown()) {
        Place(i, Step::Needs::kNothing, 0, Step::Does::kAdds, operation.value);
      } else {
        optional_.Add({Step::Needs::kNothing, 0, Step::Does::kAdds, operation.value}, operation.invoked.count());
      }
    }
  }

  absl::Status List() {
    TERRANE_RETURN_IF_ERROR(FindSources({Type::kPush}));
    std::optional<size_t> longest;
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (operation.type == Type::kRead && (!longest || operation.list.size() > operations()[*longest].list.size())) {
        longest = i;
      }
    }
    const std::vector<int64_t> order = longest ? operations()[*longest].list : std::vector<int64_t>();
    const int64_t length = static_cast<int64_t>(order.size());
    std::map<int64_t, int64_t> places;
    for (int64_t at = 0; at < length; ++at) {
      const int64_t element = order[static_cast<size_t>(at)];
      if (!places.emplace(element, at).second) {
        problem_.failures.push_back({*longest, {}, StrCat(element, " is there twice")});
      }
    }
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (operation.type != Type::kRead) continue;
      if (!std::equal(operation.list.begin(), operation.list.end(), order.begin())) {
        problem_.failures.push_back({i, {*longest}, "two reads disagree about the order"});
        continue;
      }
      for (int64_t element : operation.list) Saw(i, element, operation.returned.count());
    }
    if (!problem_.failures.empty()) return absl::OkStatus();
    for (size_t i = 0; i < operations().size(); ++i) {
      const Operation& operation = operations()[i];
      if (operation.type == Type::kRead) {
        Place(i, Step::Needs::kEquals, static_cast<int64_t>(operation.list.size()), Step::Does::kNothing, 0);
      } else if (const auto place = places.find(operation.value); place != places.end()) {
        Place(i, Step::Needs::kEquals, place->second, Step::Does::kAssigns, place->second + 1);
      } else if (!operation.unknown()) {  // nobody saw it: it came after the last that was seen
        Place(i, Step::Needs::kAtLeast, length, Step::Does::kAssigns, length + 1);
      }
    }
    return absl::OkStatus();
  }

  const DocumentHistory& history_;
  Problem problem_;
  Gathered optional_;
  std::map<int64_t, size_t> sources_;         // value -> operation that wrote it
  std::vector<std::optional<int64_t>> seen_;  // by operation: when its effect had been seen at the latest
};

}  // namespace

absl::StatusOr<Problem> Translate(const DocumentHistory& history) {
  return Translation(history).Run();
}

}  // namespace terrane::testing::linearizability
