// How far an import has come is one record, written with the data that it speaks of.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "shard/shard_fixture.h"

namespace terrane::shard {
namespace {

constexpr uint64_t kBegin = 100;  // the pin, and what the only segment reflects

class ImportProgressTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    v1::ShardEntry prepare;
    *prepare.mutable_prepare_copy() = Prepare();
    ASSERT_EQ(Propose(std::move(prepare)).outcome, Outcome::kApplied);
    v1::ShardEntry segment;
    *segment.mutable_ingest_segment() = Segment(Position(kBegin));
    ASSERT_EQ(Propose(std::move(segment)).outcome, Outcome::kApplied);
  }
  // One document each, at the source's position with this number.
  v1::ShardEntry BatchAt(uint64_t position) {
    v1::ShardEntry entry;
    *entry.mutable_import_batch() = Batch(Position(position - 1), Position(position));
    v1::Change* change = entry.mutable_import_batch()->add_changes();
    change->set_shard_key("c");
    change->set_id(document::EncodeId(document::Value::Int64(static_cast<int64_t>(position))));
    change->set_document(document::Builder().Append("_id", static_cast<int64_t>(position)).Append("k", "c").Finish());
    return entry;
  }
  // What one view of the store says: the cursor, and how many documents there are.
  struct Seen {
    uint64_t cursor = 0;
    uint64_t documents = 0;
  };
  Seen Look() {
    Seen seen;
    const auto view = host_->store().View(kTargetCopy);
    EXPECT_TRUE(view.ok()) << view.status();
    const auto ownership = LoadOwnership(**view);
    EXPECT_TRUE(ownership.ok()) << ownership.status();
    seen.cursor = ownership->OfCopy(kTargetCopy)[0]->import->Cursor().value();
    for (auto cursor = (*view)->Documents(kTargetCopy, Range()); cursor->Valid(); cursor->Next()) ++seen.documents;
    return seen;
  }
};

TEST_F(ImportProgressTest, T26_EveryViewHasTheDataOfItsCursorAndNoMore) {
  constexpr uint64_t kBatches = 300;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    // Many on their way, so that several are applied in one batch of the store.
    std::atomic<uint64_t> applied{0};
    for (uint64_t i = 1; i <= kBatches; ++i) {
      host_->proposer().Propose(BatchAt(kBegin + i), [&](const absl::StatusOr<EntryResult>& result) {
        EXPECT_TRUE(result.ok() && result->outcome == Outcome::kApplied);
        ++applied;
      });
    }
    while (applied < kBatches) std::this_thread::yield();
    done = true;
  });
  uint64_t looks = 0;
  do {
    const Seen seen = Look();
    EXPECT_EQ(seen.documents, seen.cursor - kBegin);
    ++looks;
  } while (!done);
  writer.join();
  EXPECT_EQ(Look().cursor, kBegin + kBatches);
  // And so it is after a crash, whatever of it the disk has.
  for (uint64_t i = 1; i <= 20; ++i) Propose(BatchAt(kBegin + kBatches + i));
  Restart();
  const Seen seen = Look();
  EXPECT_EQ(seen.cursor, kBegin + kBatches + 20);
  EXPECT_EQ(seen.documents, kBatches + 20);
  EXPECT_GT(looks, 1u);
}

}  // namespace
}  // namespace terrane::shard
