// Batches, views, state, oplog, opening.
#include "storage/store.h"

#include <rocksdb/db.h>

#include <atomic>
#include <fstream>
#include <future>
#include <thread>

#include "absl/strings/match.h"
#include "common/disk_faults.h"
#include "common/process.h"
#include "storage/database.h"
#include "support.h"

namespace terrane::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

TEST_F(StoreTest, ANewStoreIsEmptyAndSurvivesReopening) {
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), Position(0));
  Put(kCopy, 0, 10, "v");
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), Position(1));
  EXPECT_EQ(Get(kCopy, 3), "v3");
  EXPECT_EQ(Get(kNeighbour, 3), "none");
  EXPECT_EQ(View(kCopy)->AppliedPosition(), Position(1));
}

// The "old" document of an entry is what the entry before it in the same batch left.
TEST_F(StoreTest, T70_ReadsGoToTheBatchFirst) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 4, "old");
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1), "id", "new");
  batch->DeleteDocument(kCopy, Key(2), "id");
  batch->PutDocument(kCopy, Key(9), "id", "added");
  EXPECT_EQ(**batch->GetDocument(kCopy, Key(1), "id"), "new");
  EXPECT_FALSE(batch->GetDocument(kCopy, Key(2), "id")->has_value());
  EXPECT_EQ(**batch->GetDocument(kCopy, Key(3), "id"), "old3");
  std::vector<std::string> seen;
  {
    auto cursor = batch->Documents(kCopy, KeyRange{Key(1), std::nullopt});
    for (; cursor->Valid(); cursor->Next()) seen.emplace_back(cursor->document());
    ASSERT_OK(cursor->status());
  }
  EXPECT_THAT(seen, ElementsAre("new", "old3", "added"));
  batch->PutDocument(kCopy, Key(1), "id", "newer");
  EXPECT_EQ(**batch->GetDocument(kCopy, Key(1), "id"), "newer");
  EXPECT_EQ(Get(kCopy, 1), "old1");  // nothing is seen outside before the commit
  ASSERT_OK(batch->Commit(Next()));
  EXPECT_EQ(Get(kCopy, 1), "newer");
  EXPECT_EQ(Count(kCopy), 4);
}

TEST_F(StoreTest, CursorsStayInRangeAndCopyAndSeek) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 100, "a");
  Put(kNeighbour, 0, 100, "b");
  auto view = View(kCopy);
  auto cursor = view->Documents(kCopy, KeyRange{Key(10), Key(20)});
  ASSERT_TRUE(cursor->Valid());
  EXPECT_EQ(cursor->shard_key(), Key(10));
  cursor->Seek(Key(15), "id");
  EXPECT_EQ(cursor->document(), "a15");
  cursor->SeekAfter(Key(15), "id");
  EXPECT_EQ(cursor->document(), "a16");
  cursor->SeekAfter(Key(15), "ic");
  EXPECT_EQ(cursor->document(), "a15");
  cursor->Seek(Key(3), "id");
  EXPECT_EQ(cursor->document(), "a10");
  cursor->SeekAfter(Key(19), "id");
  EXPECT_FALSE(cursor->Valid());
  EXPECT_EQ(Count(kCopy, KeyRange{Key(99), std::nullopt}), 1);
  EXPECT_EQ(Count(kCopy, KeyRange{Key(5), Key(5)}), 0);
  EXPECT_EQ(Count(CopyId(UINT32_MAX)), 0);
}

TEST_F(StoreTest, AViewIsAPictureOfOnePosition) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 10, "before");
  auto view = View(kCopy);
  auto cursor = view->Documents(kCopy, KeyRange{});
  Put(kCopy, 0, 10, "after");
  EXPECT_EQ(view->AppliedPosition(), Position(1));
  EXPECT_EQ(**view->GetDocument(kCopy, Key(0), "id"), "before0");
  view.reset();  // the cursor keeps the picture
  for (; cursor->Valid(); cursor->Next()) EXPECT_TRUE(cursor->document().starts_with("before"));
}

TEST_F(StoreTest, T20_RetryRecordsAreFoundByKeyAndByStatement) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto batch = store_->NewBatch();
  batch->PutRetry(kCopy, Key(1), "id", kSession, 5, "one");
  batch->PutRetry(kCopy, Key(2), "id", kSession, 5, "two");  // a statement that changed several documents
  batch->PutRetry(kNeighbour, Key(3), "id", kSession, 5, "three");
  batch->PutRetry(kCopy, Key(1), "id", kSession, 6, "other");
  EXPECT_EQ(**batch->GetRetry(kCopy, Key(1), "id", kSession, 5), "one");
  const CopyId both[] = {kCopy, kNeighbour};
  EXPECT_EQ(batch->FindRetry(both, kSession, 5)->size(), 3u);
  ASSERT_OK(batch->Commit(Next()));

  auto references = store_->Reference(both);
  ASSERT_OK(references);
  auto view = store_->View(*std::move(references));
  auto found = view->FindRetry(both, kSession, 5);
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].record, "one");
  EXPECT_EQ((*found)[2].copy, kNeighbour);
  EXPECT_EQ((*found)[2].shard_key, Key(3));
  EXPECT_EQ(view->GetRetry(kCopy, Key(1), "id", kSession, 7)->has_value(), false);
  auto cursor = view->Retries(kCopy, KeyRange{Key(1), Key(2)});
  int records = 0;
  for (; cursor->Valid(); cursor->Next(), ++records) EXPECT_EQ(cursor->session(), kSession);
  EXPECT_EQ(records, 2);

  batch->DeleteRetry(kCopy, Key(2), "id", kSession, 5);
  ASSERT_OK(batch->Commit(Next()));
  EXPECT_EQ(View(kCopy)->FindRetry(std::span(both, 1), kSession, 5)->size(), 1u);
}

TEST_F(StoreTest, StateIsWrittenWithTheBatchAndReadFromTheView) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto batch = store_->NewBatch();
  batch->PutState("ownership", "v1");
  EXPECT_EQ(**batch->GetState("ownership"), "v1");
  ASSERT_OK(batch->Commit(Position(3)));
  auto view = store_->View();
  batch->PutState("ownership", "v2");
  batch->DeleteState("gone");
  ASSERT_OK(batch->Commit(Position(4)));
  EXPECT_EQ(**view->GetState("ownership"), "v1");
  EXPECT_EQ(view->AppliedPosition(), Position(3));
  EXPECT_EQ(**store_->View()->GetState("ownership"), "v2");
}

TEST_F(StoreTest, T18_ADocumentOfSixteenMegabytes) {
  ASSERT_NO_FATAL_FAILURE(Open());
  std::string large(16 << 20, 'x');
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1), "id", large);
  batch->PutDocument(kCopy, Key(2), "id", "small");
  ASSERT_OK(batch->Commit(Next()));
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Count(kCopy), 2);
  EXPECT_EQ((**View(kCopy)->GetDocument(kCopy, Key(1), "id")).size(), large.size());
}

TEST_F(StoreTest, TheOplogIsReadFromAPositionAndRefusedWhenItIsTrimmed) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto batch = store_->NewBatch();
  for (uint64_t p = 1; p <= 20; p += 2) batch->PutOplog(Position(p), StrCat("e", p));
  ASSERT_OK(batch->Commit(Position(20)));
  auto view = store_->View();
  auto cursor = view->Oplog(Position(4));
  ASSERT_OK(cursor);
  EXPECT_EQ((*cursor)->position(), Position(5));
  EXPECT_EQ((*cursor)->entry(), "e5");
  EXPECT_FALSE(view->GetOplog(Position(4))->has_value());

  ASSERT_OK(store_->TrimOplog(Position(9)));
  EXPECT_EQ(store_->FirstOplogPosition(), Position(9));
  auto refused = store_->View()->Oplog(Position(8));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(refused.status().ToString(), HasSubstr("the first is 9"));
  EXPECT_EQ(view->GetOplog(Position(5)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ((*store_->View()->Oplog(Position(9)))->position(), Position(9));
  view.reset();
  cursor->reset();
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->FirstOplogPosition(), Position(9));
}

TEST_F(StoreTest, WaitersWakeWithTheNextCommitAndAtAStop) {
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->WaitAppliedBeyond(Position(0), std::chrono::milliseconds(0)), Position(0));
  std::thread writer([this] { Put(kCopy, 0, 1, "x"); });
  EXPECT_EQ(store_->WaitAppliedBeyond(Position(0), std::chrono::seconds(30)), Position(1));
  writer.join();
  std::thread stopper([this] { store_->Interrupt(); });
  EXPECT_EQ(store_->WaitAppliedBeyond(Position(1), std::chrono::seconds(30)), Position(1));
  stopper.join();
}

TEST_F(StoreTest, T39_WritesBelowTheReserveAreRefusedByName) {
  options_.disk_usage = [] { return DiskUsage{"", uint64_t{20} << 30, (uint64_t{20} << 30) / 50 + (1 << 20), 0}; };
  ASSERT_NO_FATAL_FAILURE(Open());  // reserve: 2 %
  ASSERT_OK(store_->CheckSpace(1 << 19));
  absl::Status refused = store_->CheckSpace(2 << 20);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.ToString(), HasSubstr(options_.directory.string()));
  EXPECT_THAT(refused.ToString(), HasSubstr("429 MB free, 2.1 MB are needed and 429 MB are kept in reserve"));
}

TEST_F(StoreTest, T39_WhatWasLetThroughIsNotFreeAnyMore) {
  // The disk is asked once a second at most; writes that come faster must not go through the reserve meanwhile.
  options_.disk_usage = [] { return DiskUsage{"", uint64_t{20} << 30, uint64_t{1} << 30, 512 << 20}; };
  options_.disk_reserve_bytes = 1000 << 20;
  ASSERT_NO_FATAL_FAILURE(Open());
  int let_through = 0;
  while (let_through < 100 && store_->CheckSpace(1 << 20).ok()) ++let_through;
  EXPECT_GT(let_through, 3);
  EXPECT_LT(let_through, 10) << "24 MiB are free beyond the reserve, and each MiB is written three times";
}

TEST_F(StoreTest, T39_TheReserveOfASmallDiskHasRoomForWhatIsInMemory) {
  uint64_t total = 0;
  options_.disk_usage = [&total] { return DiskUsage{"", total, total, 0}; };
  ASSERT_NO_FATAL_FAILURE(Open());
  const auto reserve = [&](uint64_t size) {
    total = size;
    return store_->Disk()->reserve_bytes;
  };
  EXPECT_EQ(reserve(uint64_t{64} << 20), uint64_t{16} << 20);
  EXPECT_EQ(reserve(uint64_t{4} << 30), uint64_t{256} << 20);
  EXPECT_EQ(reserve(uint64_t{25} << 30), uint64_t{512} << 20);
  EXPECT_EQ(reserve(uint64_t{2} << 40), uint64_t{1} << 30);
}

TEST_F(StoreTest, TheDiskOfThisMachineIsKnown) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto usage = store_->Disk();
  ASSERT_OK(usage);
  EXPECT_GT(usage->total_bytes, usage->free_bytes);
  EXPECT_GT(usage->free_bytes, 0u);
}

TEST_F(StoreTest, ASecondProcessIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto second = Store::Open(options_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
}

TEST_F(StoreTest, T40_ANewerFormatVersionIsRefused) {
  ASSERT_NO_FATAL_FAILURE(Open());
  store_.reset();
  auto fatal = std::make_shared<FatalHandler>(options_.on_fatal, nullptr);
  {
    auto database = Database::Open(options_.directory / "db-1", options_, nullptr, fatal, false);
    ASSERT_OK(database);
    ASSERT_TRUE((*database)
                    ->db()
                    ->Put(rocksdb::WriteOptions(), (*database)->handle(Family::kState), ToSlice(kFormatName),
                          EncodeNumber(kFormatVersion + 1))
                    .ok());
  }
  auto refused = Store::Open(options_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().ToString(), HasSubstr("format version 2"));
}

TEST_F(StoreTest, T72_WhatIsMissingOrDamagedIsRefusedByName) {
  options_.create = false;
  EXPECT_EQ(Store::Open(options_).status().code(), absl::StatusCode::kNotFound);
  options_.create = true;
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 1000, "x");
  store_.reset();

  std::filesystem::rename(options_.directory / "current", options_.directory / "aside");
  absl::Status missing = Store::Open(options_).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(missing.ToString(), HasSubstr("current"));
  std::filesystem::rename(options_.directory / "aside", options_.directory / "current");

  std::filesystem::rename(options_.directory / "db-1", options_.directory / "elsewhere");
  EXPECT_THAT(Store::Open(options_).status().ToString(), HasSubstr("db-1: is missing"));
  std::filesystem::rename(options_.directory / "elsewhere", options_.directory / "db-1");

  std::filesystem::rename(options_.directory / "db-1/CURRENT", options_.directory / "aside");
  missing = Store::Open(options_).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(missing.ToString(), HasSubstr("db-1/CURRENT: is missing"));
  std::filesystem::rename(options_.directory / "aside", options_.directory / "db-1/CURRENT");
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Count(kCopy), 1000);
}

TEST_F(StoreTest, T33_AFlippedByteInATableIsFoundAndNamed) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 5000, "some text that is long enough ");
  ASSERT_OK(store_->Ingest(built.files));
  store_.reset();
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory / "db-1")) {
    // Of the documents; in a small table this place is its index or footer, and already the start would be refused.
    if (entry.path().extension() != ".sst" || entry.file_size() < (20 << 10)) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(1000);
    char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(1000);
    file.put(byte);
  }
  ASSERT_NO_FATAL_FAILURE(Open());
  auto digest = ScanDigest(*View(kCopy), kCopy, KeyRange{});
  EXPECT_EQ(digest.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(digest.status().ToString(), HasSubstr(".sst"));
}

// Damage that a read meets: the owner is asked, and if it does not take it over (a group of one), all else goes on.
TEST_F(StoreTest, OnDamageIsAskedByAReadAndMayDecline) {
  std::atomic<int> asked{0};
  bool take = false;
  std::promise<void> over;
  options_.on_damage = [&, end = over.get_future().share()](const absl::Status& why) {
    EXPECT_EQ(why.code(), absl::StatusCode::kDataLoss) << why;
    EXPECT_THAT(why.ToString(), HasSubstr(".sst"));
    if (absl::StrContains(why.message(), "background work")) {
      // RocksDB compacts what no snapshot needs any more, when it likes: this test is about reads.
      end.wait();
      return true;
    }
    ++asked;
    return take;
  };
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 200, "some text");
  ASSERT_NO_FATAL_FAILURE(DamageDocuments());
  auto read = View(kCopy)->GetDocument(kCopy, Key(1), "id");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ScanDigest(*View(kCopy), kCopy, KeyRange{}).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(asked, 2);
  Put(kCopy, 1000, 1001, "later");
  EXPECT_EQ(Get(kCopy, 1000), "later1000");
  EXPECT_TRUE(fatal_.ok());

  take = true;
  EXPECT_FALSE(View(kCopy)->GetDocument(kCopy, Key(1), "id").ok());
  EXPECT_EQ(asked, 3);
  // It is taken over: nothing is written any more, and nobody is asked again. No end of the process.
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1001), "id", "lost");
  EXPECT_EQ(batch->Commit(Next()).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(store_->MakeDurable().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(View(kCopy)->GetDocument(kCopy, Key(1), "id").ok());
  EXPECT_EQ(asked, 3);
  EXPECT_TRUE(fatal_.ok()) << fatal_;
  over.set_value();
}

// Damage that a compaction meets.
TEST_F(StoreTest, OnDamageIsAskedByBackgroundWorkBeforeItIsFatal) {
  for (const bool take : {true, false}) {
    SCOPED_TRACE(take);
    std::promise<void> over;
    std::atomic<int> asked{0}, ended{0};
    options_.on_damage = [&](const absl::Status& why) {
      EXPECT_EQ(why.code(), absl::StatusCode::kDataLoss) << why;
      if (++asked == 1 && take) over.set_value();
      return take;
    };
    options_.on_fatal = [&](const absl::Status& why) {
      EXPECT_EQ(why.code(), absl::StatusCode::kDataLoss) << why;
      if (++ended == 1) over.set_value();
    };
    ASSERT_NO_FATAL_FAILURE(Open());
    Put(kCopy, 0, 200, "some text");
    ASSERT_NO_FATAL_FAILURE(DamageDocuments());
    auto met = over.get_future();
    int opened = 1;
    for (int i = 0; i < 8 && met.wait_for(std::chrono::seconds(0)) != std::future_status::ready; ++i) {
      auto batch = store_->NewBatch();
      batch->PutDocument(kCopy, Key(100), "id", StrCat("text", i));
      batch->Commit(Next()).IgnoreError();
      batch.reset();
      store_.reset();
      auto store = Store::Open(options_);  // flushes what the write-ahead log holds
      ++opened;
      if (!store.ok()) break;  // it is met while it opens
      store_ = *std::move(store);
    }
    ASSERT_EQ(met.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    // Once for each store that has met it.
    if (take) {
      EXPECT_EQ(ended, 0);
    } else {
      EXPECT_THAT(ended.load(), AllOf(Ge(1), Le(opened)));
    }
    store_.reset();
    std::filesystem::remove_all(options_.directory);
  }
}

// What the disk says of a bad sector. Peers have what stood there, and are asked as for other content.
TEST_F(StoreTest, T33_ASectorThatCannotBeReadIsDamage) {
  const std::filesystem::path rules = directory_ / "rules";
  options_.faults = MakeDiskFaultStoreDisk(*DiskFaults::Create({}, rules));
  std::atomic<int> asked{0};
  std::atomic<bool> take{false};
  options_.on_damage = [&](const absl::Status& why) {
    EXPECT_EQ(why.code(), absl::StatusCode::kDataLoss) << why;
    ++asked;
    return take.load();
  };
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 200, "some text");
  ASSERT_NO_FATAL_FAILURE(Open());  // flushes what the write-ahead log holds
  ASSERT_TRUE(View(kCopy)->GetDocument(kCopy, Key(500), "id").ok()) << "nothing is wrong yet";
  ASSERT_OK(WriteFileAtomically(rules, "read sst fail\n"));
  // Nobody takes it over: the store serves what it can read.
  const absl::Status alone = View(kCopy)->GetDocument(kCopy, Key(1), "id").status();
  EXPECT_EQ(alone.code(), absl::StatusCode::kInternal) << alone;
  EXPECT_EQ(asked, 1);

  take = true;
  const absl::Status taken = View(kCopy)->GetDocument(kCopy, Key(1), "id").status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kDataLoss) << taken;
  EXPECT_EQ(asked, 2);
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1001), "id", "lost");
  EXPECT_EQ(batch->Commit(Next()).code(), absl::StatusCode::kDataLoss);
  store_.reset();
  std::filesystem::remove(rules);
}

// A disk that fails is no damage.
TEST_F(StoreTest, OnDamageIsNotAskedWhenAWriteFails) {
  int asked = 0;
  options_.on_damage = [&](const absl::Status&) { return ++asked > 0; };
  const std::shared_ptr<FaultInjection> faults = FaultInjection::Create();
  options_.faults = faults;
  ASSERT_NO_FATAL_FAILURE(Open());
  faults->FailWrites();
  auto batch = store_->NewBatch();
  batch->PutDocument(kCopy, Key(1), "id", "lost");
  EXPECT_FALSE(batch->Commit(Next()).ok());
  EXPECT_EQ(asked, 0);
  EXPECT_FALSE(fatal_.ok());
}

TEST_F(StoreTest, ACrashWhileTheStoreIsMadeIsNoDamage) {
  ASSERT_NO_FATAL_FAILURE(Open());
  store_.reset();
  std::filesystem::rename(options_.directory / "db-1", options_.directory / "creating");
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), Position(0));
}

TEST_F(StoreTest, TheMiddleKeyHasDocumentsOnBothSides) {
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->MiddleKey(kCopy, KeyRange{}).status().code(), absl::StatusCode::kFailedPrecondition);
  Put(kCopy, 5, 6, "x");
  EXPECT_EQ(store_->MiddleKey(kCopy, KeyRange{}).status().code(), absl::StatusCode::kFailedPrecondition);
  Put(kCopy, 6, 7, "x");
  EXPECT_EQ(*store_->MiddleKey(kCopy, KeyRange{}), Key(6));
  Put(kCopy, 0, 20000, "0123456789");
  auto middle = store_->MiddleKey(kCopy, KeyRange{});
  ASSERT_OK(middle);
  EXPECT_GT(*middle, Key(9000));
  EXPECT_LT(*middle, Key(11000));
  auto inner = store_->MiddleKey(kCopy, KeyRange{Key(100), Key(200)});
  EXPECT_EQ(*inner, Key(150));
}

TEST_F(StoreTest, CopiesOnDiskAreListedWhereverTheirKeysLie) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto batch = store_->NewBatch();
  batch->PutRetry(CopyId(1), "k", "i", kSession, 1, "r");
  batch->PutDocument(CopyId(300), "k", "i", "d");
  batch->PutIndexEntry(CopyId(70000), 1, "v", "k", "i");
  ASSERT_OK(batch->Commit(Next()));
  auto copies = store_->ListCopies();
  ASSERT_OK(copies);
  std::vector<CopyId> ids;
  for (const CopyOnDisk& copy : *copies) ids.push_back(copy.copy);
  EXPECT_THAT(ids, ElementsAre(CopyId(1), CopyId(300), CopyId(70000)));
}

TEST_F(StoreTest, ACheckpointReplacesTheWholeState) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 100, "first");
  auto batch = store_->NewBatch();
  batch->PutState("name", "first");
  batch->PutOplog(Next(), "entry");
  ASSERT_OK(batch->Commit(Next()));
  std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_OK(store_->TakeCheckpoint(checkpoint));
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint)) EXPECT_FALSE(entry.is_directory());

  Put(kCopy, 0, 200, "second");
  auto view = View(kCopy);
  ASSERT_OK(store_->InstallCheckpoint(checkpoint));
  EXPECT_EQ(store_->AppliedPosition(), Position(2));
  EXPECT_EQ(Count(kCopy), 100);
  EXPECT_EQ(Get(kCopy, 0), "first0");
  EXPECT_EQ(**view->GetDocument(kCopy, Key(0), "id"), "second0");  // an open view stays what it is
  EXPECT_EQ(**store_->View()->GetState("name"), "first");
  ASSERT_OK(batch->GetState("name"));
  EXPECT_EQ(**batch->GetState("name"), "first");
  Put(kCopy, 0, 1, "third");
  view.reset();

  ASSERT_OK(store_->InstallCheckpoint(checkpoint));  // again, with the same directory
  EXPECT_EQ(Get(kCopy, 0), "first0");
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(Get(kCopy, 0), "first0");
  int databases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) {
    databases += entry.path().filename().string().starts_with("db-") ? 1 : 0;
  }
  EXPECT_EQ(databases, 1);
}

}  // namespace
}  // namespace terrane::storage
