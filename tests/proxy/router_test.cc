#include "proxy/router.h"

#include <gtest/gtest.h>

#include "common/status.h"
#include "document/builder.h"
#include "proxy/retry_decision.h"
#include "rpc/status.h"

namespace terrane::proxy {
namespace {

using document::Builder;
using document::ShardKeyPattern;
using v1::ErrorDetail;

ShardKeyPattern Pattern(const Builder& spec) {
  return *ShardKeyPattern::Parse(spec.Finish());
}

TEST(PlanFilterTest, TheFullKeyNeedsNoFilterAtTheShard) {
  const auto plan = *PlanFilter(ShardKeyPattern(), Builder().Append("_id", 7).Finish());
  EXPECT_TRUE(plan.full_key());
  EXPECT_TRUE(plan.filter.empty());
  ASSERT_EQ(plan.ranges.size(), 1u);
  EXPECT_TRUE(plan.ranges[0].Contains(*plan.shard_key));
}

TEST(PlanFilterTest, OtherConditionsGoAlong) {
  const auto plan = *PlanFilter(ShardKeyPattern(), Builder().Append("_id", 7).Append("state", "paid").Finish());
  EXPECT_TRUE(plan.full_key());
  EXPECT_FALSE(plan.filter.empty());
}

TEST(PlanFilterTest, ShardKeyWithoutId) {
  const auto pattern = Pattern(Builder().Append("customer", "hashed"));
  const auto plan = *PlanFilter(pattern, Builder().Append("customer", "c").Finish());
  EXPECT_TRUE(plan.shard_key);
  EXPECT_FALSE(plan.id);
  EXPECT_FALSE(plan.filter.empty());
  const auto full = *PlanFilter(pattern, Builder().Append("customer", "c").Append("_id", 1).Finish());
  EXPECT_TRUE(full.full_key());
  EXPECT_FALSE(full.filter.empty()) << "another customer may have the same hash";
}

TEST(PlanFilterTest, AHashedIdNeedsNoFilterForTheKeysHoldItAsWell) {
  const auto pattern = Pattern(Builder().Append("_id", "hashed").Append("customer", 1));
  const auto full = *PlanFilter(pattern, Builder().Append("customer", "c").Append("_id", 1).Finish());
  EXPECT_TRUE(full.full_key());
  EXPECT_TRUE(full.filter.empty());
}

TEST(PlanFilterTest, AShardKeyThatIsNotHashedHoldsItsValues) {
  const auto pattern = Pattern(Builder().Append("customer", 1));
  const auto full = *PlanFilter(pattern, Builder().Append("customer", "c").Append("_id", 1).Finish());
  EXPECT_TRUE(full.full_key());
  EXPECT_TRUE(full.filter.empty());
}

TEST(PlanFilterTest, NothingSaidAsksEverybody) {
  for (const std::string& filter : {std::string(), Builder().Finish(), Builder().Append("x", 1).Finish()}) {
    const auto plan = *PlanFilter(ShardKeyPattern(), filter);
    ASSERT_EQ(plan.ranges.size(), 1u);
    EXPECT_EQ(plan.ranges[0], KeyRange());
  }
}

TEST(PlanFilterTest, BadFiltersAreNamed) {
  const auto plan = PlanFilter(ShardKeyPattern(), Builder().Append("$where", "x").Finish());
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ReasonOf(plan.status()), ErrorDetail::BAD_FILTER);
  EXPECT_EQ(rpc::ReasonOf(PlanFilter(ShardKeyPattern(), "no bson").status()), ErrorDetail::BAD_FILTER);
}

TEST(NoSuchCollectionTest, DidYouMean) {
  const std::vector<std::string> names = {"shop.orders", "shop.customers"};
  EXPECT_NE(MessageOf(NoSuchCollection("shop.order", names)).find("did you mean 'shop.orders'"),
            std::string_view::npos);
  EXPECT_NE(MessageOf(NoSuchCollection("orders", names)).find("did you mean 'shop.orders'"), std::string_view::npos);
  EXPECT_EQ(MessageOf(NoSuchCollection("a.completely.other", names)).find("did you mean"), std::string_view::npos);
}

ErrorDetail Detail(ErrorDetail::Reason reason, uint32_t copy = 0) {
  ErrorDetail detail;
  detail.set_reason(reason);
  if (copy != 0) detail.mutable_route()->set_copy_id(copy);
  return detail;
}

TEST(DecideTest, WhatRoutingSaysIsNeverShownToApplications) {
  EXPECT_EQ(Decide(Aborted(""), Detail(ErrorDetail::STALE_ROUTE, 7), true), NextMove::kLearnRoute);
  EXPECT_EQ(Decide(Aborted(""), Detail(ErrorDetail::STALE_ROUTE), true), NextMove::kRefreshRoute);
  EXPECT_EQ(Decide(Unavailable(""), Detail(ErrorDetail::CHUNK_FENCED), true), NextMove::kHold);
  EXPECT_EQ(Decide(Unavailable(""), Detail(ErrorDetail::ROUTE_AHEAD), true), NextMove::kPause) << "T04";
  EXPECT_EQ(Decide(Unavailable(""), Detail(ErrorDetail::NOT_LEADER), false), NextMove::kOtherReplica);
  for (auto reason : {ErrorDetail::STALE_ROUTE, ErrorDetail::ROUTE_AHEAD, ErrorDetail::OUTCOME_UNKNOWN}) {
    EXPECT_EQ(ForApplication(rpc::WithReason(Aborted("x"), reason)).code(), absl::StatusCode::kUnavailable);
  }
}

TEST(DecideTest, AnUnknownOutcomeIsRepeatedOnlyWhenThatIsSafe) {
  EXPECT_EQ(Decide(Unavailable(""), Detail(ErrorDetail::OUTCOME_UNKNOWN), true), NextMove::kPause);
  EXPECT_EQ(Decide(Unavailable(""), Detail(ErrorDetail::OUTCOME_UNKNOWN), false), NextMove::kReturn);
  EXPECT_EQ(Decide(Unavailable("connection reset"), std::nullopt, true), NextMove::kOtherReplica);
  EXPECT_EQ(Decide(Unavailable("connection reset"), std::nullopt, false), NextMove::kReturn);
}

TEST(DecideTest, DamageOfOneReplicaIsAskedOfAnother) {
  EXPECT_EQ(Decide(DataLoss("bad block"), std::nullopt, true, true), NextMove::kOtherReplica);
  EXPECT_EQ(Decide(DataLoss("bad block"), std::nullopt, true, false), NextMove::kReturn);
  EXPECT_EQ(Decide(DataLoss("bad block"), std::nullopt, false, true), NextMove::kReturn);
}

TEST(DecideTest, AnswersAreAnswers) {
  EXPECT_EQ(Decide(InvalidArgument(""), Detail(ErrorDetail::BAD_UPDATE), true), NextMove::kReturn);
  EXPECT_EQ(Decide(NotFound(""), std::nullopt, true), NextMove::kReturn);
  EXPECT_EQ(Decide(absl::ResourceExhaustedError(""), Detail(ErrorDetail::DISK_RESERVE), true), NextMove::kReturn);
}

}  // namespace
}  // namespace terrane::proxy
