// The map against what the shards say, with one thing wrong at a time.
#include <gtest/gtest.h>

#include <functional>

#include "common/status.h"
#include "metadata/check.h"
#include "state_fixture.h"

namespace terrane::metadata {
namespace {

class CheckMapTest : public StateFixture {
 protected:
  CheckMapTest() {
    AddShard("s1");
    AddShard("s2");
    id_ = CreateReady("db.c");
  }

  // Shards that know exactly what the map says.
  ShardReports Reports() {
    ShardReports reports;
    for (const auto& [name, shard] : state_.shards()) reports.emplace(name, v1::DescribeResponse());
    for (const auto& [min, chunk] : state_.FindCollection("db.c")->chunks) {
      auto* owned = reports.at(chunk.shard())->mutable_ownership()->add_chunks();
      owned->set_collection_id(id_);
      *owned->mutable_range() = chunk.range();
      owned->set_copy_id(chunk.copy_id());
      owned->set_token(chunk.token());
      reports.at(chunk.shard())->add_copies_on_disk(chunk.copy_id());
    }
    return reports;
  }
  static v1::OwnedChunk* Owned(ShardReports* reports, const std::string& shard, int i) {
    return reports->at(shard)->mutable_ownership()->mutable_chunks(i);
  }
  std::vector<std::string> Find(const ShardReports& reports, const std::string& collection = "") {
    return CompareMapWithShards(state_.ToProto(), reports, collection);
  }
  // One finding that holds the text.
  void ExpectFinding(const ShardReports& reports, const std::string& text) {
    const auto findings = Find(reports);
    ASSERT_EQ(findings.size(), 1u) << text << (findings.empty() ? "" : "\n" + findings[0] + "\n" + findings.back());
    EXPECT_NE(findings[0].find(text), std::string::npos) << findings[0];
  }

  uint32_t id_ = 0;
};

TEST_F(CheckMapTest, NothingWrong) {
  EXPECT_TRUE(Find(Reports()).empty());
  EXPECT_TRUE(Find(Reports(), "db.c").empty());
}

TEST_F(CheckMapTest, AShardThatDoesNotAnswer) {
  ShardReports reports = Reports();
  reports.at("s2") = Unavailable("gone");
  ExpectFinding(reports, "shard s2 could not be asked");
}

TEST_F(CheckMapTest, AnOwnerThatLacksItsChunk) {
  ShardReports reports = Reports();
  reports.at("s2")->clear_ownership();
  reports.at("s2")->clear_copies_on_disk();
  ExpectFinding(reports, "which has no such chunk");
}

// A split that the shard has applied and the map has not heard of, yet or for ever.
TEST_F(CheckMapTest, AnOwnerThatHasSplitItsChunkFurtherLacksNothing) {
  const auto cut = [this](const std::string& end, const std::string& begin) {
    ShardReports reports = Reports();
    v1::OwnedChunk* left = Owned(&reports, "s2", 0);
    v1::OwnedChunk right = *left;
    left->mutable_range()->set_max(end);
    right.mutable_range()->set_min(begin);
    // In any order.
    auto* chunks = reports.at("s2")->mutable_ownership()->mutable_chunks();
    *chunks->Add() = right;
    chunks->SwapElements(0, chunks->size() - 1);
    return reports;
  };
  EXPECT_TRUE(Find(cut("k", "k")).empty());

  ExpectFinding(cut("k", "l"), "which has no such chunk");
  ShardReports short_of_it = cut("k", "k");
  Owned(&short_of_it, "s2", 0)->mutable_range()->set_max("o");
  ExpectFinding(short_of_it, "which has no such chunk");

  ShardReports other_copy = cut("k", "k");
  Owned(&other_copy, "s2", 0)->set_copy_id(50);
  const auto findings = Find(other_copy);
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_NE(findings[0].find("which has no such chunk"), std::string::npos) << findings[0];
  EXPECT_NE(findings[1].find("two owners are possible"), std::string::npos) << findings[1];

  // What holds for a chunk holds for each part.
  ShardReports fenced = cut("k", "k");
  Owned(&fenced, "s2", 0)->set_state(v1::OwnedChunk::WRITE_FENCED);
  ExpectFinding(fenced, "fenced on shard s2, but in no move");
  ShardReports ahead = cut("k", "k");
  Owned(&ahead, "s2", 0)->set_token(9);
  ExpectFinding(ahead, "has token 1 in the map, and 9 on shard s2");
}

TEST_F(CheckMapTest, TwoOwners) {
  ShardReports reports = Reports();
  *reports.at("s2")->mutable_ownership()->add_chunks() = reports.at("s1")->ownership().chunks(0);
  ExpectFinding(reports, "two owners are possible");
}

TEST_F(CheckMapTest, AnOwnerThatDoesNotServe) {
  ShardReports reports = Reports();
  Owned(&reports, "s1", 0)->set_state(v1::OwnedChunk::RELEASED);
  const auto findings = Find(reports);
  ASSERT_EQ(findings.size(), 2u);  // and no move needs that copy
  EXPECT_NE(findings[0].find("holds it as RELEASED"), std::string::npos) << findings[0];
}

TEST_F(CheckMapTest, AFenceWithoutAMove) {
  ShardReports reports = Reports();
  Owned(&reports, "s1", 0)->set_state(v1::OwnedChunk::WRITE_FENCED);
  ExpectFinding(reports, "fenced on shard s1, but in no move");
}

TEST_F(CheckMapTest, ATokenThatWasNeverGivenOut) {
  ShardReports reports = Reports();
  Owned(&reports, "s1", 0)->set_token(9);
  ExpectFinding(reports, "has token 1 in the map, and 9 on shard s1");
}

TEST_F(CheckMapTest, ACopyThatNobodyOwns) {
  ShardReports reports = Reports();
  reports.at("s1")->add_copies_on_disk(77);
  ExpectFinding(reports, "data of copy 77, which nobody owns");
  reports.at("s1")->mutable_ownership()->add_dropping()->set_copy_id(77);
  EXPECT_TRUE(Find(reports).empty());
}

TEST_F(CheckMapTest, AnImportThatNoMoveNeeds) {
  ShardReports reports = Reports();
  auto* stray = reports.at("s2")->mutable_ownership()->add_chunks();
  *stray = reports.at("s1")->ownership().chunks(0);
  stray->set_copy_id(50);
  stray->set_state(v1::OwnedChunk::IMPORTING);
  ExpectFinding(reports, "no move needs it");
}

TEST_F(CheckMapTest, WhatAMoveAllowsIsNotAFinding) {
  const uint64_t move = StartMove(id_, "a", "s2");
  BringTo(move, Stage::kFencing);
  ShardReports reports = Reports();
  Owned(&reports, "s1", 0)->set_state(v1::OwnedChunk::READ_FENCED);
  auto* import = reports.at("s2")->mutable_ownership()->add_chunks();
  *import = reports.at("s1")->ownership().chunks(0);
  import->set_copy_id(Record(move).target_copy());
  import->set_state(v1::OwnedChunk::COMPLETE);
  EXPECT_TRUE(Find(reports).empty());
  // Committed, and nobody has heard of it yet: the target serves by proof.
  ASSERT_EQ(Code(CommitCommand(move, 1)), absl::StatusCode::kOk);
  EXPECT_TRUE(Find(reports).empty());
  // But not both.
  Owned(&reports, "s1", 0)->set_state(v1::OwnedChunk::OWNED);
  EXPECT_EQ(Find(reports).size(), 1u);
}

TEST_F(CheckMapTest, OtherCollectionsAreLeftOutWhenOneIsAskedFor) {
  ShardReports reports = Reports();
  const uint32_t other = CreateReady("db.other");
  EXPECT_EQ(Find(reports).size(), 3u);  // its shards know nothing of it
  EXPECT_TRUE(Find(reports, "db.c").empty());
  Do(DropCommand("db.other"));
  EXPECT_TRUE(Find(reports).empty());
  Do(GoneCommand(other));
  EXPECT_TRUE(Find(reports).empty());
}

}  // namespace
}  // namespace terrane::metadata
