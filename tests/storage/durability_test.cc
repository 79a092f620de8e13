// Power cuts, failing disks, slow syncs.
#include <random>

#include "support.h"

namespace terrane::storage {
namespace {

class DurabilityTest : public StoreTest {
 protected:
  DurabilityTest() {
    faults_ = FaultInjection::Create();
    options_.faults = faults_;
  }
  void CutAndReopen(uint64_t seed) {
    faults_->PowerCut(seed);
    store_.reset();
    ASSERT_OK(faults_->Restore());
    ASSERT_NO_FATAL_FAILURE(Open());
  }
  // Changes a document and the running digest in the state, as an apply does.
  void Apply(ApplyBatch* batch, std::mt19937_64* random, ChunkDigest* running) {
    std::string key = Key((*random)() % 500);
    auto old = batch->GetDocument(kCopy, key, "id");
    ASSERT_OK(old);
    if (*old) running->SubtractDocument(key, "id", **old);
    if ((*random)() % 4 == 0) {
      batch->DeleteDocument(kCopy, key, "id");
    } else {
      std::string document(100 + (*random)() % 3000, static_cast<char>('a' + (*random)() % 26));
      batch->PutDocument(kCopy, key, "id", document);
      running->AddDocument(key, "id", document);
    }
  }

  std::shared_ptr<FaultInjection> faults_;
};

TEST_F(DurabilityTest, WhatIsMadeDurableSurvivesAPowerCut) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 100, "v");
  EXPECT_EQ(*store_->MakeDurable(), Position(1));
  Put(kCopy, 100, 200, "v");
  ASSERT_NO_FATAL_FAILURE(CutAndReopen(0));
  EXPECT_EQ(store_->AppliedPosition(), Position(1));
  EXPECT_EQ(Count(kCopy), 100);
}

// After any power cut the state is that of one applied position: documents, digest and position belong together, though
// families are flushed at different times.
TEST_F(DurabilityTest, T72_APowerCutLeavesAPrefixOfTheCommits) {
  options_.write_buffer_bytes = 64 << 10;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    ASSERT_NO_FATAL_FAILURE(Open());
    std::mt19937_64 random(seed);
    ChunkDigest running;
    {
      auto view = View(kCopy);
      running = *ScanDigest(*view, kCopy, KeyRange{});
    }
    Position durable = store_->AppliedPosition();
    auto batch = store_->NewBatch();
    for (int i = 0; i < 400; ++i) {
      for (int n = 0; n < 3; ++n) ASSERT_NO_FATAL_FAILURE(Apply(batch.get(), &random, &running));
      batch->PutState("digest", running.ToString());
      ASSERT_OK(batch->Commit(Next()));
      if (i == 150) durable = *store_->MakeDurable();
    }
    batch.reset();
    ASSERT_NO_FATAL_FAILURE(CutAndReopen(seed));
    EXPECT_GE(store_->AppliedPosition(), durable) << "seed " << seed;
    auto view = View(kCopy);
    EXPECT_EQ(ScanDigest(*view, kCopy, KeyRange{})->ToString(), view->GetState("digest")->value()) << "seed " << seed;
  }
}

// The ingest is durable at once; the commits before it must be so too, or a replay would meet the future on disk.
TEST_F(DurabilityTest, T61_AnIngestMakesWhatWasBeforeDurable) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kNeighbour, 0, 10, "before");
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  ASSERT_OK(store_->Ingest(built.files));
  ASSERT_NO_FATAL_FAILURE(CutAndReopen(0));
  EXPECT_EQ(store_->AppliedPosition(), Position(1));
  EXPECT_EQ(Count(kNeighbour), 10);
  EXPECT_EQ(Count(kCopy), 100);
  ASSERT_OK(store_->Ingest(built.files));  // the files are there for the replay
}

TEST_F(DurabilityTest, ADropMakesWhatWasBeforeDurable) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  ASSERT_OK(store_->Ingest(built.files));
  Put(kNeighbour, 0, 10, "the entry that drops");
  ASSERT_OK(Drop(kCopy));
  ASSERT_NO_FATAL_FAILURE(CutAndReopen(0));
  EXPECT_EQ(store_->AppliedPosition(), Position(1));
}

TEST_F(DurabilityTest, TrimmingTheOplogIsDurableBeforeItsFilesGo) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto batch = store_->NewBatch();
  for (uint64_t p = 1; p <= 100; ++p) batch->PutOplog(Position(p), "entry");
  ASSERT_OK(batch->Commit(Position(100)));
  ASSERT_OK(store_->TrimOplog(Position(50)));
  batch.reset();
  ASSERT_NO_FATAL_FAILURE(CutAndReopen(0));
  EXPECT_EQ(store_->FirstOplogPosition(), Position(50));
  EXPECT_EQ((*store_->View()->Oplog(Position(50)))->position(), Position(50));
}

TEST_F(DurabilityTest, T50_TheFirstFailedWriteIsTheLast) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 10, "v");
  faults_->FailWrites();
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1), "id", "lost");
  absl::Status failed = batch->Commit(Next());
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(failed.code(), absl::StatusCode::kResourceExhausted) << failed;
  ASSERT_FALSE(fatal_.ok());
  faults_->FailWrites(false);  // what is tried again would succeed
  EXPECT_FALSE(store_->MakeDurable().ok());
  batch->PutDocument(kCopy, Key(1), "id", "again");
  EXPECT_FALSE(batch->Commit(Next()).ok());
  EXPECT_EQ(store_->AppliedPosition(), Position(1));
}

TEST_F(DurabilityTest, SyncsCanBeMadeSlow) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 1, "v");
  faults_->SetSyncDelay(std::chrono::milliseconds(20));
  uint64_t before = faults_->Syncs();
  auto start = std::chrono::steady_clock::now();
  ASSERT_OK(store_->MakeDurable());
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
  EXPECT_GE(faults_->Syncs(), before + 1);
}

}  // namespace
}  // namespace terrane::storage
