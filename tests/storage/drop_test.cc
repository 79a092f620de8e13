// Removal of copies and of parts of copies.
#include "storage/keys.h"
#include "support.h"

namespace terrane::storage {
namespace {

class DropTest : public StoreTest {
 protected:
  void Fill(CopyId copy, uint64_t from, uint64_t to) {
    auto batch = store_->NewBatch();
    for (uint64_t n = from; n < to; ++n) {
      batch->PutDocument(copy, Key(n), "id", StrCat("document ", n));
      batch->PutRetry(copy, Key(n), "id", kSession, static_cast<int64_t>(n), "r");
      batch->PutIndexEntry(copy, 1, Key(1'000'000 - n), Key(n), "id");
    }
    ASSERT_OK(batch->Commit(Next()));
  }
  std::vector<CopyId> Copies() {
    std::vector<CopyId> ids;
    auto copies = store_->ListCopies();
    EXPECT_TRUE(copies.ok());
    for (const CopyOnDisk& copy : *copies) ids.push_back(copy.copy);
    return ids;
  }
};

TEST_F(DropTest, AWholeCopyGoesAndItsNeighboursStay) {
  ASSERT_NO_FATAL_FAILURE(Open());
  for (CopyId copy : {CopyId(6), kCopy, kNeighbour}) {
    BuiltSegment built = Build(copy, 0, 2000, "from a segment ");
    ASSERT_OK(store_->Ingest(built.files));
    Fill(copy, 2000, 2500);
  }
  ASSERT_OK(Drop(kCopy));
  EXPECT_THAT(Copies(), ::testing::ElementsAre(CopyId(6), kNeighbour));
  EXPECT_EQ(Count(CopyId(6)), 2500);
  EXPECT_EQ(Count(kNeighbour), 2500);
  EXPECT_EQ(store_->Reference(kCopy).status().code(), absl::StatusCode::kNotFound);
  ASSERT_OK(Drop(kCopy));  // again
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_THAT(Copies(), ::testing::ElementsAre(CopyId(6), kNeighbour));
}

TEST_F(DropTest, T34_ACopyIsDroppedWhenItsLastReaderIsGone) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 2000, "v");
  ASSERT_OK(store_->Ingest(built.files));
  auto view = View(kCopy);
  auto cursor = view->Documents(kCopy, KeyRange{});
  std::promise<absl::Status> dropped;
  auto done = dropped.get_future();
  store_->ScheduleDrop(kCopy, std::nullopt, [&](absl::Status status) { dropped.set_value(std::move(status)); });
  EXPECT_EQ(store_->Reference(kCopy).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->Statistics().pending_drops, 1u);
  // A get of the view after a drop of files would find nothing.
  ASSERT_OK(Drop(kNeighbour));  // asked for later: the other one has had its turn
  EXPECT_EQ(view->GetDocument(kCopy, Key(1999), "id")->value_or("nothing"), "v1999");
  view.reset();
  int64_t seen = 0;
  for (; cursor->Valid(); cursor->Next()) ++seen;
  EXPECT_EQ(seen, 2000);
  EXPECT_NE(done.wait_for(std::chrono::milliseconds(20)), std::future_status::ready);
  cursor.reset();
  ASSERT_OK(done.get());
  EXPECT_TRUE(Copies().empty());
}

TEST_F(DropTest, T34_AReferenceAloneHoldsTheCopy) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Fill(kCopy, 0, 10);
  auto reference = store_->Reference(kCopy);
  ASSERT_OK(reference);
  std::promise<absl::Status> dropped;
  auto done = dropped.get_future();
  store_->ScheduleDrop(kCopy, std::nullopt, [&](absl::Status status) { dropped.set_value(std::move(status)); });
  ASSERT_OK(Drop(kNeighbour));  // asked for later: the other one has had its turn
  EXPECT_NE(done.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  auto view = store_->View(*std::move(reference));
  EXPECT_TRUE(view->GetDocument(kCopy, Key(1), "id")->has_value());
  view.reset();
  ASSERT_OK(done.get());
}

// After a split one side moved away: its index entries and second-order records lie between those of the other side.
TEST_F(DropTest, T62_HalfACopyGoesWithItsIndexEntriesAndRecords) {
  options_.drop_batch_keys = 50;
  ASSERT_NO_FATAL_FAILURE(Open());
  Fill(kCopy, 0, 400);
  Fill(kNeighbour, 0, 400);
  auto view = View(kCopy);
  ASSERT_OK(Drop(kCopy, KeyRange{Key(100), Key(300)}));
  EXPECT_EQ(Count(kCopy), 200);
  EXPECT_EQ(Count(kCopy, KeyRange{Key(100), Key(300)}), 0);
  EXPECT_EQ(Count(kNeighbour), 400);
  for (int64_t statement : {99, 100, 299, 300}) {
    EXPECT_EQ(View(kCopy)->FindRetry(std::span(&kCopy, 1), kSession, statement)->size(),
              statement < 100 || statement >= 300 ? 1u : 0u);
  }
  EXPECT_EQ(ScanDigest(*view, kCopy, KeyRange{})->documents.count, 400);  // an open view does not see it go
  ASSERT_OK(store_->Reference(kCopy));
  view.reset();
  // No index entry of the part is left: dropping the rest by key leaves nothing at all.
  ASSERT_OK(Drop(kCopy, KeyRange{"", Key(100)}));
  ASSERT_OK(Drop(kCopy, KeyRange{Key(300), std::nullopt}));
  EXPECT_THAT(Copies(), ::testing::ElementsAre(kNeighbour));
}

// A -> B -> A: the chunk is back under a new copy id while the old copy still waits for its readers.
TEST_F(DropTest, T22_AReturningChunkDoesNotMeetItsRemains) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Fill(kCopy, 0, 100);
  auto reader = View(kCopy);
  std::promise<absl::Status> dropped;
  store_->ScheduleDrop(kCopy, std::nullopt, [&](absl::Status status) { dropped.set_value(std::move(status)); });
  BuiltSegment built = Build(CopyId(9), 50, 100, "back");
  ASSERT_OK(store_->Ingest(built.files));
  reader.reset();
  ASSERT_OK(dropped.get_future().get());
  EXPECT_EQ(Count(CopyId(9)), 50);
}

TEST_F(DropTest, AStopForgetsWhatWaits) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Fill(kCopy, 0, 10);
  auto view = View(kCopy);
  store_->ScheduleDrop(kCopy, std::nullopt, [](absl::Status) { FAIL() << "nobody asked any more"; });
  store_.reset();
  EXPECT_TRUE(view->GetDocument(kCopy, Key(1), "id")->has_value());  // a view may outlive the store
  view.reset();
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Count(kCopy), 10);
}

}  // namespace
}  // namespace terrane::storage
