// Segments: building, ingest, replay.
#include "storage/segment.h"

#include <fstream>

#include "support.h"

namespace terrane::storage {
namespace {

using ::testing::HasSubstr;

class SegmentTest : public StoreTest {
 protected:
  std::vector<std::string> Names(const BuiltSegment& built) {
    std::vector<std::string> names;
    for (const SegmentFile& file : built.files) names.push_back(file.name);
    return names;
  }
  size_t SegmentFiles() {
    auto directory = std::filesystem::directory_iterator(options_.directory / "segments");
    return static_cast<size_t>(std::distance(begin(directory), end(directory)));
  }
};

TEST_F(SegmentTest, WhatIsIngestedIsThereInAllFamilies) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 1000, "v");
  EXPECT_EQ(built.files.size(), 3u);  // documents, and both orders of the retry records
  EXPECT_EQ(built.digest.documents.count, 1000);
  EXPECT_EQ(built.digest.retries.count, 1000);
  ASSERT_OK(store_->Ingest(built.files));
  EXPECT_EQ(*ScanDigest(*View(kCopy), kCopy, KeyRange{}), built.digest);
  EXPECT_EQ(Get(kCopy, 999), "v999");
  auto found = View(kCopy)->FindRetry(std::span(&kCopy, 1), kSession, 990);
  ASSERT_OK(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0].record, "r10");
}

// T38, T57: successive segments land beside each other, with a second order that overlaps.
TEST_F(SegmentTest, T38_SuccessiveSegmentsAddUp) {
  ASSERT_NO_FATAL_FAILURE(Open());
  ChunkDigest sum;
  for (uint64_t n = 0; n < 10; ++n) {
    BuiltSegment built = Build(kCopy, n * 100, n * 100 + 100, "v");
    sum += built.digest;
    ASSERT_OK(store_->Ingest(built.files));
  }
  EXPECT_EQ(*ScanDigest(*View(kCopy), kCopy, KeyRange{}), sum);
  EXPECT_EQ(View(kCopy)->FindRetry(std::span(&kCopy, 1), kSession, 1000 - 555)->size(), 1u);
}

TEST_F(SegmentTest, AnEmptySegmentHasNoFiles) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto writer = store_->NewSegment(kCopy, "m1-a1");
  ASSERT_OK(writer);
  auto built = (*writer)->Finish();
  ASSERT_OK(built);
  EXPECT_TRUE(built->files.empty());
  ASSERT_OK(store_->Ingest(built->files));
}

TEST_F(SegmentTest, KeysOutOfOrderAreRefusedAndLeaveNothing) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto writer = store_->NewSegment(kCopy, "m1-a1");
  ASSERT_OK((*writer)->AddDocument(Key(2), "id", "x"));
  EXPECT_EQ((*writer)->AddDocument(Key(1), "id", "x").code(), absl::StatusCode::kInvalidArgument);
  writer->reset();
  EXPECT_EQ(SegmentFiles(), 0u);
}

TEST_F(SegmentTest, IndexEntriesAreSortedInMemoryUpToABound) {
  options_.segment_sort_bytes = 1000;
  ASSERT_NO_FATAL_FAILURE(Open());
  auto writer = store_->NewSegment(kCopy, "m1-a1");
  for (uint64_t n = 0; n < 200; ++n) {
    ASSERT_OK((*writer)->AddDocument(Key(n), "id", "x"));
    ASSERT_OK((*writer)->AddIndexEntry(1, Key(n * 7919 % 200), Key(n), "id"));
    ASSERT_OK((*writer)->AddRetry(Key(n), "id", kSession, static_cast<int64_t>(n * 7919 % 200), "r"));
  }
  auto built = (*writer)->Finish();
  ASSERT_OK(built);
  EXPECT_GT(built->files.size(), 6u);
  ASSERT_OK(store_->Ingest(built->files));
  for (int64_t statement = 0; statement < 200; ++statement) {
    EXPECT_EQ(View(kCopy)->FindRetry(std::span(&kCopy, 1), kSession, statement)->size(), 1u) << statement;
  }
}

// The entry was applied, the process died before digest and progress were written: the same files once more.
TEST_F(SegmentTest, T61_AReplayedIngestHasTheSameEffect) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  ASSERT_OK(store_->Ingest(built.files));
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(store_->AppliedPosition(), Position(0));
  ASSERT_OK(store_->Ingest(built.files));
  EXPECT_EQ(*ScanDigest(*View(kCopy), kCopy, KeyRange{}), built.digest);
  auto batch = store_->NewBatch();
  batch->MarkIngested(Names(built));
  ASSERT_OK(batch->Commit(Position(1)));
  EXPECT_EQ(SegmentFiles(), 3u);  // kept until no replay can ask for them
  store_->RemoveSegmentFiles(kCopy);
  EXPECT_EQ(SegmentFiles(), 3u);
  EXPECT_EQ(*store_->MakeDurable(), Position(1));
  EXPECT_EQ(SegmentFiles(), 3u);  // peers may ask, too
  ASSERT_OK(store_->ForgetSegmentFiles(Position(1)));
  EXPECT_EQ(SegmentFiles(), 0u);
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(*ScanDigest(*View(kCopy), kCopy, KeyRange{}), built.digest);
}

TEST_F(SegmentTest, IngestedFilesAreForgottenAfterARestartToo) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  ASSERT_OK(store_->Ingest(built.files));
  auto batch = store_->NewBatch();
  batch->MarkIngested(Names(built));
  ASSERT_OK(batch->Commit(Position(1)));
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_EQ(SegmentFiles(), 3u);
  ASSERT_EQ(store_->KeptSegmentFiles().size(), 3u);
  EXPECT_EQ(store_->KeptSegmentFiles().front().position, Position(1));
  ASSERT_OK(store_->ForgetSegmentFiles(Position(1)));
  EXPECT_EQ(SegmentFiles(), 0u);
  ASSERT_NO_FATAL_FAILURE(Open());
  EXPECT_TRUE(store_->KeptSegmentFiles().empty());
}

// Each entry's files go by themselves; what was never ingested goes only by name.
TEST_F(SegmentTest, T60_FilesAreKeptForPeersUntilTheirEntryIsForgotten) {
  ASSERT_NO_FATAL_FAILURE(Open());
  for (uint64_t position = 1; position <= 2; ++position) {
    BuiltSegment built = Build(kCopy, 100 * position, 100 * position + 10, "v");
    ASSERT_OK(store_->Ingest(built.files));
    auto batch = store_->NewBatch();
    batch->MarkIngested(Names(built));
    ASSERT_OK(batch->Commit(Position(position)));
  }
  Build(kNeighbour, 0, 10, "v");
  EXPECT_EQ(SegmentFiles(), 9u);
  ASSERT_OK(store_->ForgetSegmentFiles(Position(1)));
  EXPECT_EQ(SegmentFiles(), 6u);
  store_->RemoveSegmentFiles([](std::string_view) { return true; });
  EXPECT_EQ(SegmentFiles(), 3u);  // those of the second entry
  ASSERT_OK(store_->ForgetSegmentFiles(Position(2)));
  EXPECT_EQ(SegmentFiles(), 0u);
  EXPECT_EQ(Count(kCopy), 20);
}

// A follower takes what the leader has built.
TEST_F(SegmentTest, AFileThatCameFromAPeerIsIngestedLikeOnesOwn) {
  ASSERT_NO_FATAL_FAILURE(Open());
  const BuiltSegment built = Build(kCopy, 0, 100, "v");
  StoreOptions other_options = options_;
  other_options.directory = directory_ / "other";
  auto other = Store::Open(other_options);
  ASSERT_OK(other);
  for (const SegmentFile& file : built.files) {
    EXPECT_FALSE((*other)->HasSegmentFile(file));
    std::ifstream in(store_->SegmentPath(file.name), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    auto receiver = (*other)->ReceiveSegmentFile(file);
    ASSERT_OK(receiver);
    ASSERT_OK((*receiver)->Append(bytes.substr(0, 100)));
    EXPECT_EQ((*receiver)->received(), 100);
    ASSERT_OK((*receiver)->Append(bytes.substr(100)));
    ASSERT_OK((*receiver)->Finish());
    EXPECT_TRUE((*other)->HasSegmentFile(file));
  }
  ASSERT_OK((*other)->Ingest(built.files));
  auto view = (*other)->View(kCopy);
  ASSERT_OK(view);
  EXPECT_EQ(*ScanDigest(**view, kCopy, KeyRange{}), built.digest);
}

TEST_F(SegmentTest, AFileThatCameDamagedOrInPartGetsNoName) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  SegmentFile file = built.files.front();
  std::string bytes;
  {
    std::ifstream in(store_->SegmentPath(file.name), std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  std::filesystem::remove(store_->SegmentPath(file.name));
  for (std::string wrong : {bytes.substr(1), bytes.substr(0, bytes.size() - 1), "x" + bytes.substr(1)}) {
    auto receiver = store_->ReceiveSegmentFile(file);
    ASSERT_OK(receiver);
    ASSERT_OK((*receiver)->Append(wrong));
    EXPECT_EQ((*receiver)->Finish().code(), absl::StatusCode::kDataLoss);
  }
  {
    auto receiver = store_->ReceiveSegmentFile(file);
    ASSERT_OK(receiver);
    EXPECT_EQ((*receiver)->Append(bytes + "x").code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(store_->HasSegmentFile(file));
  EXPECT_EQ(SegmentFiles(), 2u);  // the others; nothing of this one
}

TEST_F(SegmentTest, FilesOfAnImportThatEndedAreRemoved) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Build(kCopy, 0, 10, "v");
  Build(kNeighbour, 0, 10, "v");
  store_->RemoveSegmentFiles(kCopy);
  EXPECT_EQ(SegmentFiles(), 3u);
}

TEST_F(SegmentTest, T60_AMissingOrDamagedFileIsNamedAndNothingTakenIn) {
  ASSERT_NO_FATAL_FAILURE(Open());
  BuiltSegment built = Build(kCopy, 0, 100, "v");
  {
    std::fstream file(store_->SegmentPath(built.files[1].name), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);
    file.put('!');
  }
  absl::Status damaged = store_->Ingest(built.files);
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(damaged.ToString(), HasSubstr(built.files[1].name));
  std::filesystem::remove(store_->SegmentPath(built.files[1].name));
  absl::Status missing = store_->Ingest(built.files);
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.ToString(), HasSubstr(built.files[1].name));
  EXPECT_EQ(Count(kCopy), 0);
  EXPECT_EQ(SegmentFiles(), 2u);  // no link is left
}

TEST_F(SegmentTest, T18_ASegmentOfOneLargeDocument) {
  ASSERT_NO_FATAL_FAILURE(Open());
  auto writer = store_->NewSegment(kCopy, "m1-a1");
  ASSERT_OK((*writer)->AddDocument(Key(1), "id", std::string(16 << 20, 'x')));
  EXPECT_EQ((*writer)->AddedBytes(), 16 << 20);
  auto built = (*writer)->Finish();
  ASSERT_OK(built);
  ASSERT_OK(store_->Ingest(built->files));
  EXPECT_EQ(*ScanDigest(*View(kCopy), kCopy, KeyRange{}), built->digest);
}

}  // namespace
}  // namespace terrane::storage
