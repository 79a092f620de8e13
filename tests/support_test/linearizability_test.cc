// The checker of histories: it accepts what one object could have answered, finds each kind of wrong answer, agrees
// with a search through all orders, and is quick enough for the histories of the fault tests.
#include "support/linearizability.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "support/linearizability_search.h"
#include "support_test/histories.h"

namespace terrane::testing {
namespace {

using std::chrono::nanoseconds;
using ::testing::HasSubstr;
using ::testing::Not;
using Type = Operation::Type;

Operation At(int64_t invoked, int64_t returned, Type type, int64_t value, int client = 1) {
  Operation operation;
  operation.type = type;
  operation.client = client;
  operation.value = value;
  operation.invoked = nanoseconds(invoked);
  operation.returned = returned < 0 ? Operation::kNever : nanoseconds(returned);
  return operation;
}
Operation Write(int64_t invoked, int64_t returned, int64_t value) {
  return At(invoked, returned, Type::kWrite, value);
}
Operation Read(int64_t invoked, int64_t returned, int64_t value) {
  return At(invoked, returned, Type::kRead, value);
}
Operation Add(int64_t invoked, int64_t returned, int64_t value = 1) {
  return At(invoked, returned, Type::kAdd, value);
}
Operation Push(int64_t invoked, int64_t returned, int64_t value) {
  return At(invoked, returned, Type::kPush, value);
}
Operation ReadList(int64_t invoked, int64_t returned, std::vector<int64_t> list) {
  Operation operation = At(invoked, returned, Type::kRead, 0);
  operation.list = std::move(list);
  return operation;
}
Operation Compare(int64_t invoked, int64_t returned, int64_t expected, int64_t value, bool applied = true) {
  Operation operation = At(invoked, returned, Type::kCompareAndSet, value);
  operation.expected = expected;
  operation.applied = applied;
  return operation;
}
constexpr int64_t kUnknown = -1;

absl::Status Check(Model model, std::vector<Operation> operations) {
  return CheckLinearizable(DocumentHistory{"d", model, 0, std::move(operations)});
}
absl::Status Register(std::vector<Operation> operations) {
  return Check(Model::kRegister, std::move(operations));
}
absl::Status Counter(std::vector<Operation> operations) {
  return Check(Model::kCounter, std::move(operations));
}
absl::Status List(std::vector<Operation> operations) {
  return Check(Model::kList, std::move(operations));
}

TEST(LinearizabilityTest, RightHistoriesPass) {
  for (Model model : {Model::kRegister, Model::kCounter, Model::kList}) {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      Shape shape{.model = model, .operations = 400};
      shape.clients = 1 + static_cast<int>(seed % 8);
      shape.unknown = static_cast<double>(seed % 4) * 0.03;
      shape.largest_addition = seed % 3 == 0 ? 3 : 1;
      const absl::Status checked = CheckLinearizable(RightHistory(shape, seed));
      ASSERT_TRUE(checked.ok()) << ModelName(model) << " seed " << seed << ": " << checked;
    }
  }
}

TEST(LinearizabilityTest, AgreesWithTryingAllOrders) {
  for (Model model : {Model::kRegister, Model::kCounter, Model::kList}) {
    int right = 0, wrong = 0;
    for (uint64_t seed = 1; seed <= 20'000; ++seed) {
      const DocumentHistory history = RandomHistory(model, seed);
      const absl::Status checked = CheckLinearizable(history);
      if (absl::IsInvalidArgument(checked)) continue;
      ASSERT_TRUE(checked.ok() || absl::IsDataLoss(checked)) << checked;
      ASSERT_EQ(checked.ok(), LinearizableByTrying(history)) << ModelName(model) << " seed " << seed << ": " << checked;
      ++(checked.ok() ? right : wrong);
    }
    EXPECT_GT(right, 2'000) << ModelName(model);
    EXPECT_GT(wrong, 2'000) << ModelName(model);
  }
}

// What is shown of a wrong history is wrong, too: nothing that explained an answer was left out.
TEST(LinearizabilityTest, ShortenedHistoriesAreStillWrong) {
  for (Model model : {Model::kRegister, Model::kCounter, Model::kList}) {
    int wrong = 0;
    for (uint64_t seed = 1; seed <= 20'000; ++seed) {
      const DocumentHistory history = RandomHistory(model, seed);
      int64_t steps = 1'000'000;
      const auto failures = linearizability::Judge(history, &steps);
      if (!failures.ok() || failures->empty()) continue;
      const auto end = std::chrono::seconds(1);
      const DocumentHistory shorter = linearizability::Shorten(history, end);
      ASSERT_LE(shorter.operations.size(), history.operations.size());
      ASSERT_FALSE(LinearizableByTrying(shorter)) << ModelName(model) << " seed " << seed;
      // Every operation was there before, and every answer.
      for (const Operation& operation : shorter.operations) {
        ASSERT_TRUE(std::any_of(history.operations.begin(), history.operations.end(), [&](const Operation& one) {
          return one.client == operation.client && one.type == operation.type && one.value == operation.value;
        }));
      }
      // What somebody stood on is still there.
      for (const Operation& operation : shorter.operations) {
        if (model != Model::kRegister || operation.type == Type::kAdd) continue;
        const bool sees =
            operation.type == Type::kRead || (operation.type == Type::kCompareAndSet && operation.applied);
        const int64_t seen = operation.type == Type::kRead ? operation.value : operation.expected;
        if (!sees) continue;
        const auto writes = [&](const Operation& one) {
          return one.type != Type::kRead && one.value == seen && (one.applied || one.unknown());
        };
        ASSERT_EQ(std::any_of(shorter.operations.begin(), shorter.operations.end(), writes),
                  std::any_of(history.operations.begin(), history.operations.end(), writes))
            << ModelName(model) << " seed " << seed << ": " << Describe(operation, model);
      }
      ++wrong;
    }
    EXPECT_GT(wrong, 2'000) << ModelName(model);
  }
}

TEST(LinearizabilityTest, HundredThousandOperationsTakeSeconds) {
  std::vector<DocumentHistory> histories;
  size_t operations = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    const Shape shape{.model = static_cast<Model>(i % 3), .operations = 400, .unknown = 0.05};
    histories.push_back(RightHistory(shape, i));
    operations += histories.back().operations.size();
  }
  // And a few of the form of the fault tests: long, with many unknown outcomes.
  for (uint64_t i = 0; i < 6; ++i) {
    const Shape shape{.model = static_cast<Model>(i % 3), .operations = 20'000, .unknown = 0.05};
    histories.push_back(RightHistory(shape, i));
    operations += histories.back().operations.size();
  }
  ASSERT_GT(operations, 200'000u);
  const auto start = std::chrono::steady_clock::now();
  const absl::Status checked = CheckLinearizable(histories);
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_TRUE(checked.ok()) << checked;
  RecordProperty("seconds", std::to_string(took));
#if !defined(TERRANE_SANITIZED)
  EXPECT_LT(took, 20);
#endif
}

TEST(LinearizabilityTest, UnknownOutcomesMayHappenLateOrNever) {
  EXPECT_TRUE(Register({Write(0, kUnknown, 1), Read(10, 11, 0), Read(20, 21, 1)}).ok());
  EXPECT_TRUE(Register({Write(0, kUnknown, 1), Read(10, 11, 0), Read(20, 21, 0)}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Register({Write(0, kUnknown, 1), Read(10, 11, 1), Read(20, 21, 0)})));
  EXPECT_TRUE(absl::IsDataLoss(Register({Read(10, 11, 1), Write(12, kUnknown, 1)})));  // not before its invocation
  // Nobody saw the value, but a comparison failed because of it.
  EXPECT_TRUE(Register({Write(0, kUnknown, 1), Compare(10, 11, 0, 2, false)}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Register({Compare(10, 11, 0, 2, false), Write(12, kUnknown, 1)})));
  EXPECT_TRUE(Counter({Add(0, kUnknown), Add(1, kUnknown), Read(10, 11, 0), Read(12, 13, 2)}).ok());
  EXPECT_TRUE(absl::IsDataLoss(Counter({Add(0, kUnknown), Read(10, 11, 1), Read(12, 13, 0)})));
  EXPECT_TRUE(List({Push(0, kUnknown, 1), Push(5, 6, 2), ReadList(10, 11, {2}), ReadList(12, 13, {2, 1})}).ok());
}

TEST(LinearizabilityTest, StaleReadIsFoundAndShownInThreeLines) {
  std::vector<Operation> operations;
  for (int64_t i = 1; i <= 500; ++i) {
    operations.push_back(Write(i * 10, i * 10 + 5, i));
    operations.push_back(Read(i * 10 + 3, i * 10 + 7, i));
  }
  operations.push_back(Read(4'506, 4'507, 449));  // 450 was acknowledged at 4505
  const absl::Status checked = Register(operations);
  ASSERT_TRUE(absl::IsDataLoss(checked)) << checked;
  const std::string text(checked.message());
  EXPECT_THAT(text, HasSubstr("\"read -> 449\" fits nowhere"));
  EXPECT_THAT(text, HasSubstr("write 449\n"));
  EXPECT_THAT(text, HasSubstr("write 450\n"));
  EXPECT_THAT(text, Not(HasSubstr("write 448")));
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 6) << text;
}

TEST(LinearizabilityTest, ValueThatComesBackIsFound) {
  EXPECT_TRUE(absl::IsDataLoss(Register({Write(0, 1, 1), Write(2, 3, 2), Read(4, 5, 2), Read(6, 7, 1)})));
  EXPECT_TRUE(
      absl::IsDataLoss(Register({Write(0, 10, 1), Write(0, 10, 2), Read(1, 2, 1), Read(3, 4, 2), Read(5, 6, 1)})));
}

TEST(LinearizabilityTest, LostUpdateIsFound) {
  EXPECT_TRUE(absl::IsDataLoss(Register({Write(0, 1, 1), Write(2, 3, 2), Read(4, 5, 1)})));
  EXPECT_TRUE(absl::IsDataLoss(Register({Write(0, 1, 1), Compare(2, 3, 1, 2), Compare(4, 5, 1, 3)})));
  const absl::Status counter = Counter({Add(0, 1), Add(2, 3), Read(4, 5, 1)});
  ASSERT_TRUE(absl::IsDataLoss(counter));
  EXPECT_THAT(std::string(counter.message()), HasSubstr("it begins with 2")) << counter;  // both additions are in it
}

TEST(LinearizabilityTest, AdditionThatCountsTwiceIsFound) {
  EXPECT_TRUE(absl::IsDataLoss(Counter({Add(0, 1), Read(2, 3, 2)})));
  EXPECT_TRUE(absl::IsDataLoss(Counter({Add(0, kUnknown), Read(2, 3, 2)})));
  // In the middle of many, some with unknown outcomes.
  DocumentHistory history = RightHistory({.model = Model::kCounter, .operations = 2'000, .unknown = 0.02}, 7);
  ASSERT_TRUE(CheckLinearizable(history).ok());
  int64_t known = 0, unknown = 0;
  const nanoseconds end = std::chrono::seconds(10);
  for (const Operation& operation : history.operations) {
    if (operation.type == Type::kAdd) ++(operation.unknown() ? unknown : known);
  }
  ASSERT_GT(unknown, 0);
  history.operations.push_back(Read(end.count(), end.count() + 1, known + unknown));
  ASSERT_TRUE(CheckLinearizable(history).ok());
  history.operations.back().value++;
  EXPECT_TRUE(absl::IsDataLoss(CheckLinearizable(history)));
  history.operations.back().value = known - 1;
  EXPECT_TRUE(absl::IsDataLoss(CheckLinearizable(history)));
}

TEST(LinearizabilityTest, LostAppendIsFound) {
  EXPECT_TRUE(absl::IsDataLoss(List({Push(0, 1, 1), Push(2, 3, 2), ReadList(4, 5, {2})})));
  EXPECT_TRUE(absl::IsDataLoss(List({Push(0, 1, 1), Push(2, 3, 2), ReadList(4, 5, {1})})));
  EXPECT_TRUE(absl::IsDataLoss(List({Push(0, 1, 1), ReadList(4, 5, {1}), ReadList(6, 7, {})})));
}

TEST(LinearizabilityTest, ReorderedListIsFound) {
  EXPECT_TRUE(absl::IsDataLoss(List({Push(0, 1, 1), Push(2, 3, 2), ReadList(4, 5, {2, 1})})));
  const absl::Status two = List({Push(0, 9, 1), Push(0, 9, 2), ReadList(10, 11, {1, 2}), ReadList(12, 13, {2, 1})});
  ASSERT_TRUE(absl::IsDataLoss(two));
  EXPECT_THAT(std::string(two.message()), HasSubstr("two reads disagree about the order"));
  EXPECT_TRUE(List({Push(0, 9, 1), Push(0, 9, 2), ReadList(10, 11, {2, 1}), ReadList(12, 13, {2, 1})}).ok());
}

TEST(LinearizabilityTest, ElementThatIsThereTwiceIsFound) {
  const absl::Status twice = List({Push(0, kUnknown, 1), ReadList(4, 5, {1, 1})});
  ASSERT_TRUE(absl::IsDataLoss(twice));
  EXPECT_THAT(std::string(twice.message()), HasSubstr("1 is there twice"));
}

TEST(LinearizabilityTest, ValueThatNobodyWroteIsFound) {
  EXPECT_THAT(std::string(Register({Write(0, 1, 1), Read(2, 3, 7)}).message()), HasSubstr("7 was written by nobody"));
  EXPECT_THAT(std::string(List({Push(0, 1, 1), ReadList(2, 3, {7})}).message()), HasSubstr("7 was written by nobody"));
  EXPECT_THAT(std::string(Register({Read(0, 1, 1), Write(2, 3, 1)}).message()),
              HasSubstr("1 was seen before it was written"));
  // A comparison that says it failed wrote nothing.
  EXPECT_TRUE(absl::IsDataLoss(Register({Compare(0, 1, 0, 5, false), Read(2, 3, 5)})));
}

// Any answer of a right history, replaced by an older one that can no longer be right.
TEST(LinearizabilityTest, OneOldAnswerAmongManyRightOnesIsFound) {
  int planted = 0;
  for (Model model : {Model::kRegister, Model::kCounter, Model::kList}) {
    for (uint64_t seed = 1; seed <= 50; ++seed) {
      const Shape shape{.model = model, .operations = 600, .unknown = 0.03, .longest_list = 1'000};
      DocumentHistory history = RightHistory(shape, seed);
      std::vector<Operation>& all = history.operations;
      // A read R1 that returned before R2 began, with a change between them that was acknowledged and that R2 saw.
      const auto late = std::find_if(all.begin() + 300, all.end(), [&](const Operation& read) {
        return read.type == Type::kRead && (read.value > 0 || !read.list.empty());
      });
      ASSERT_NE(late, all.end());
      const auto old = std::find_if(all.begin(), all.end(), [&](const Operation& read) {
        return read.type == Type::kRead && (read.value != late->value || read.list != late->list) &&
               std::any_of(all.begin(), all.end(), [&](const Operation& between) {
                 return between.type == Type::kRead && read.returned < between.invoked &&
                        between.returned < late->invoked && (between.value != read.value || between.list != read.list);
               });
      });
      ASSERT_NE(old, all.end());
      late->value = old->value;
      late->list = old->list;
      const absl::Status checked = CheckLinearizable(history);
      EXPECT_TRUE(absl::IsDataLoss(checked)) << ModelName(model) << " seed " << seed << ": " << checked;
      ++planted;
    }
  }
  EXPECT_EQ(planted, 150);
}

TEST(LinearizabilityTest, UndecidedIsNotAPass) {
  const DocumentHistory history = RightHistory({.operations = 1'000, .unknown = 0.05}, 3);
  EXPECT_TRUE(absl::IsResourceExhausted(CheckLinearizable(history, {.steps = 100})));
  std::vector<Operation> crowd;
  for (int64_t i = 1; i <= 70; ++i) crowd.push_back(Write(0, 100, i));
  EXPECT_TRUE(absl::IsResourceExhausted(Register(crowd)));
}

TEST(LinearizabilityTest, HistoriesOfNoModelAreRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(Register({Write(0, 1, 1), Write(2, 3, 1)})));
  EXPECT_TRUE(absl::IsInvalidArgument(Register({Write(0, 1, 0)})));  // the initial value
  EXPECT_TRUE(absl::IsInvalidArgument(Register({Add(0, 1)})));
  EXPECT_TRUE(absl::IsInvalidArgument(Counter({Add(0, 1, -1)})));
  EXPECT_TRUE(absl::IsInvalidArgument(Counter({Add(5, 1)})));
  EXPECT_TRUE(absl::IsInvalidArgument(Counter({Read(0, kUnknown, 1)})));
}

}  // namespace
}  // namespace terrane::testing
