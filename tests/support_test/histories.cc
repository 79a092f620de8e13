#include "support_test/histories.h"

#include <algorithm>
#include <optional>
#include <queue>

#include "common/random.h"

namespace terrane::testing {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using Type = Operation::Type;

// The object itself: what every operation means, without a thought for other orders.
class Object {
 public:
  Object(Model model, int64_t initial) : model_(model), value_(initial) {}

  void Perform(Operation* operation) {
    switch (operation->type) {
      case Type::kRead:
        operation->value = model_ == Model::kList ? 0 : value_;
        operation->list = list_;
        break;
      case Type::kWrite:
        value_ = operation->value;
        break;
      case Type::kCompareAndSet:
        operation->applied = value_ == operation->expected;
        if (operation->applied) value_ = operation->value;
        break;
      case Type::kAdd:
        value_ += operation->value;
        break;
      case Type::kPush:
        list_.push_back(operation->value);
        break;
    }
  }
  int64_t value() const { return value_; }
  size_t length() const { return list_.size(); }

 private:
  const Model model_;
  int64_t value_;
  std::vector<int64_t> list_;
};

class Maker {
 public:
  Maker(const Shape& shape, uint64_t seed) : shape_(shape), random_(seed), object_(shape.model, 0) {}

  DocumentHistory Run() {
    for (int client = 0; client < shape_.clients; ++client) Begin(client, nanoseconds(random_.Between(0, 1'000'000)));
    while (!moments_.empty()) {
      const Moment moment = moments_.top();
      moments_.pop();
      Operation& operation = all_[moment.operation];
      if (moment.takes_effect) {
        object_.Perform(&operation);
      } else {
        Begin(operation.client, moment.at + microseconds(random_.Between(0, 300)));
      }
    }
    DocumentHistory history{"made", shape_.model, 0, {}};
    for (Operation& operation : all_) {
      if (operation.unknown() && operation.type == Type::kRead) continue;
      if (operation.unknown()) operation.applied = true;  // nobody knows
      history.operations.push_back(std::move(operation));
    }
    return history;
  }

 private:
  struct Moment {
    nanoseconds at;
    bool takes_effect;  // else it returns
    size_t operation;
    bool operator<(const Moment& other) const { return at > other.at; }
  };

  Operation Choose() {
    Operation operation;
    const bool full = static_cast<int64_t>(object_.length()) >= shape_.longest_list;
    if (random_.OneIn(2) || full) return operation;
    operation.value = ++last_value_;
    switch (shape_.model) {
      case Model::kRegister:
        operation.type = random_.OneIn(3) ? Type::kCompareAndSet : Type::kWrite;
        // Mostly what it is just now, so that many succeed.
        operation.expected = random_.OneIn(4) ? static_cast<int64_t>(random_.Below(last_value_)) : object_.value();
        break;
      case Model::kCounter:
        operation.type = Type::kAdd;
        operation.value = random_.Between(1, shape_.largest_addition);
        break;
      case Model::kList:
        operation.type = Type::kPush;
        break;
    }
    return operation;
  }

  void Begin(int client, nanoseconds at) {
    if (static_cast<int>(all_.size()) == shape_.operations) return;
    Operation operation = Choose();
    operation.client = client;
    operation.invoked = at;
    // Most are quick, some hang.
    const auto duration = microseconds(random_.OneIn(50) ? random_.Between(1, 20'000) : random_.Between(50, 800));
    operation.returned = at + duration;
    std::optional<nanoseconds> effect = at + nanoseconds(random_.Between(0, nanoseconds(duration).count()));
    moments_.push({operation.returned, false, all_.size()});
    if (operation.type != Type::kRead && random_.Fraction() < shape_.unknown) {
      operation.returned = Operation::kNever;
      // Never, or perhaps long after the client has given up.
      if (random_.OneIn(2)) effect.reset();
      if (effect && random_.OneIn(4)) *effect += microseconds(random_.Between(0, 100'000));
    }
    if (effect) moments_.push({*effect, true, all_.size()});
    all_.push_back(operation);
  }

  const Shape shape_;
  Random random_;
  Object object_;
  std::vector<Operation> all_;
  std::priority_queue<Moment> moments_;
  uint64_t last_value_ = 0;
};

// All orders of `rest` behind what `object` has been through.
bool TryAll(const DocumentHistory& history, const Object& object, std::vector<size_t> rest) {
  auto first_return = Operation::kNever;
  for (size_t i : rest) first_return = std::min(first_return, history.operations[i].returned);
  bool all_unknown = true;
  for (size_t i : rest) all_unknown = all_unknown && history.operations[i].unknown();
  if (all_unknown) return true;  // they never happened
  for (size_t i : rest) {
    const Operation& operation = history.operations[i];
    if (operation.invoked > first_return) continue;
    std::vector<size_t> others;
    std::copy_if(rest.begin(), rest.end(), std::back_inserter(others), [&](size_t other) { return other != i; });
    Object next = object;
    Operation performed = operation;
    next.Perform(&performed);
    const bool as_answered =
        operation.unknown() || (performed.value == operation.value && performed.list == operation.list &&
                                performed.applied == operation.applied);
    if (as_answered && TryAll(history, next, others)) return true;
  }
  return false;
}

}  // namespace

DocumentHistory RightHistory(const Shape& shape, uint64_t seed) {
  return Maker(shape, seed).Run();
}

DocumentHistory RandomHistory(Model model, uint64_t seed) {
  Random random(seed);
  DocumentHistory history{"random", model, 0, {}};
  const int64_t operations = random.Between(1, 7);
  std::vector<int64_t> pushed;
  for (int64_t i = 1; i <= operations; ++i) {
    Operation operation;
    operation.client = static_cast<int>(i);
    operation.invoked = nanoseconds(random.Between(0, 12));
    operation.returned = operation.invoked + nanoseconds(random.Between(0, 8));
    const int64_t small = random.Between(0, operations);
    if (random.OneIn(2)) {
      operation.value = model == Model::kList ? 0 : small;
    } else if (model == Model::kRegister) {
      operation.type = random.OneIn(2) ? Type::kWrite : Type::kCompareAndSet;
      operation.value = i;
      operation.expected = small;
      operation.applied = !random.OneIn(2);
    } else if (model == Model::kCounter) {
      operation.type = Type::kAdd;
      operation.value = random.Between(1, 2);
    } else {
      operation.type = Type::kPush;
      operation.value = i;
      pushed.push_back(i);
    }
    if (operation.type != Type::kCompareAndSet) operation.applied = true;
    if (operation.type != Type::kRead && random.OneIn(4)) {
      operation.returned = Operation::kNever;
      operation.applied = true;
    }
    history.operations.push_back(operation);
  }
  if (model == Model::kList) {
    std::shuffle(pushed.begin(), pushed.end(), random);
    for (Operation& operation : history.operations) {
      if (operation.type != Type::kRead) continue;
      operation.list = pushed;
      operation.list.resize(random.Below(pushed.size() + 1));
      if (random.OneIn(20)) std::reverse(operation.list.begin(), operation.list.end());
      if (random.OneIn(20) && !operation.list.empty()) operation.list.push_back(operation.list.front());
    }
  }
  return history;
}

bool LinearizableByTrying(const DocumentHistory& history) {
  std::vector<size_t> rest(history.operations.size());
  for (size_t i = 0; i < rest.size(); ++i) rest[i] = i;
  return TryAll(history, Object(history.model, history.initial), rest);
}

}  // namespace terrane::testing
