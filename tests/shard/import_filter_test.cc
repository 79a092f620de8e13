#include "shard/import_filter.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

Import TwoSegments() {
  Import import;
  import.segments.push_back({.range = {"", "m"}, .position = Position(100)});
  import.segments.push_back({.range = {"m", std::nullopt}, .position = Position(200)});
  return import;
}

v1::PositionedEntry* AddEntry(v1::OplogBatch* batch, uint64_t position, std::vector<std::string> keys) {
  v1::PositionedEntry* entry = batch->add_entries();
  entry->set_position(position);
  entry->mutable_entry()->set_hybrid_time(position * 10);
  for (std::string& key : keys) {
    v1::Change* change = entry->mutable_entry()->add_changes();
    change->set_shard_key(std::move(key));
    change->set_document("d");
  }
  return entry;
}

TEST(ImportFilterTest, T14_AnOlderImageIsNotLaidOverANewerSegment) {
  const Import import = TwoSegments();
  EXPECT_FALSE(*NeedsChange(import, "a", Position(99)));
  EXPECT_FALSE(*NeedsChange(import, "a", Position(100)));
  EXPECT_TRUE(*NeedsChange(import, "a", Position(101)));
  EXPECT_FALSE(*NeedsChange(import, "m", Position(200)));
  EXPECT_TRUE(*NeedsChange(import, "zz", Position(201)));
}

TEST(ImportFilterTest, OneEntryMayBeNeededInPart) {
  v1::OplogBatch batch;
  AddEntry(&batch, 150, {"a", "z"});
  AddEntry(&batch, 250, {"b", "y"});
  v1::ImportBatch out;
  ASSERT_TRUE(TakeNeededChanges(TwoSegments(), &batch, &out).ok());
  ASSERT_EQ(out.changes_size(), 3);
  EXPECT_EQ(out.changes(0).shard_key(), "a");
  EXPECT_EQ(out.changes(1).shard_key(), "b");
  EXPECT_EQ(out.changes(2).shard_key(), "y");
  EXPECT_EQ(out.hybrid_time(), 2500u);
}

TEST(ImportFilterTest, T27_AnIngestInTheTailIsAHole) {
  v1::OplogBatch batch;
  AddEntry(&batch, 250, {})->mutable_entry()->mutable_ingest()->set_copy_id(1);
  v1::ImportBatch out;
  EXPECT_EQ(TakeNeededChanges(TwoSegments(), &batch, &out).code(), absl::StatusCode::kDataLoss);
}

TEST(ImportFilterTest, AKeyWithoutASegmentIsABrokenPromise) {
  Import import = TwoSegments();
  import.segments.erase(import.segments.begin());
  EXPECT_EQ(NeedsChange(import, "a", Position(300)).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace terrane::shard
