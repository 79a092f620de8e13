// A move between two real shards: segments, tail, verification, K.
#include <random>

#include "move_fixture.h"
#include "rpc/status.h"

namespace terrane::shard {
namespace {

using MoveTest = MoveFixture;

TEST_F(MoveTest, AQuietMoveEndsWithEqualDigests) {
  CreateChunk();
  Fill(0, 3000);
  PinAndPrepare();
  const v1::ImportStatus copied = ImportUntilCopied();
  EXPECT_GT(copied.segments(), 5);
  EXPECT_EQ(copied.documents(), 3000);
  EXPECT_EQ(copied.error(), "");
  const v1::VerifyStatus verified = VerifyUntilDone();
  EXPECT_TRUE(verified.equal()) << verified.error();
  EXPECT_EQ(verified.documents(), 3000);
  EXPECT_EQ(verified.repaired_size(), 0);
  Switch();
  // T20: the retry records came along, in both orders.
  auto view = target_->store().View(kTargetCopy);
  const CopyId copy = kTargetCopy;
  EXPECT_EQ((*view)->FindRetry(std::span(&copy, 1), kSession, 2990)->size(), 1u);
}

TEST_F(MoveTest, AMoveUnderWritesLosesNothing) {
  CreateChunk();
  Fill(0, 2000);
  PinAndPrepare();
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  std::thread writer([&] {
    std::mt19937_64 random(1);
    for (int64_t statement = 100000; !stop; ++statement) {
      const uint64_t n = random() % 3000;
      absl::Status status = random() % 4 == 0 ? Write({Delete(n)})
                                              : Write({Put(n, StrCat("new ", statement), statement), Put(n + 1, "b")});
      EXPECT_TRUE(status.ok()) << status;
      ++written;
    }
  });
  ImportUntilCopied();
  const int before = written;
  const v1::VerifyStatus verified = VerifyUntilDone();
  ImportUntil([&](const v1::ImportStatus&) { return written > before + 200; });
  stop = true;
  writer.join();
  EXPECT_TRUE(verified.equal()) << verified.error();
  EXPECT_EQ(verified.repaired_size(), 0);
  EXPECT_GT(written, 200);
  Switch();
}

// Writes go on until F refuses them; what was acknowledged before is at the target.
TEST_F(MoveTest, T02_TheFenceIsTheEndOfTheStream) {
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  ImportUntilCopied();
  EXPECT_TRUE(VerifyUntilDone().equal());
  std::vector<uint64_t> acknowledged;
  std::thread writer([&] {
    for (uint64_t n = 10000;; ++n) {
      if (!Write({Put(n, "late")}).ok()) return;
      acknowledged.push_back(n);
    }
  });
  ImportUntil([&](const v1::ImportStatus& status) { return status.documents() > 550; });
  Switch();
  writer.join();
  EXPECT_GT(acknowledged.size(), 50u);
  auto view = target_->store().View(kTargetCopy);
  for (uint64_t n : acknowledged) EXPECT_TRUE((*view)->GetDocument(kTargetCopy, Key(n), "id")->has_value()) << n;
}

// Both sides hash what they hold at one position of the source, so writes that go on meanwhile are no difference.
TEST_F(MoveTest, T30_WritesDuringVerificationAreNoDamage) {
  CreateChunk();
  Fill(0, 3000);
  PinAndPrepare();
  ImportUntilCopied();
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  std::vector<std::thread> writers;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    writers.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      for (int64_t n = 0; !stop; ++n) {
        // Over all of the range: inserts, updates of the same size, deletes, retry records.
        const uint64_t key = random() % 4000;
        const absl::Status status = random() % 8 == 0
                                        ? Write({Delete(key)})
                                        : Write({Put(key, StrCat("written by ", seed, " as ", n % 10)),
                                                 Put(key + 1, "neighbour", static_cast<int64_t>(seed * 1000000) + n)});
        EXPECT_TRUE(status.ok()) << status;
        ++written;
      }
    });
  }
  int meanwhile = 0;
  for (int round = 0; meanwhile < 300 && !HasFailure(); ++round) {
    const int before = written;
    const v1::VerifyStatus verified = VerifyUntilDone(1, /*restart=*/round > 0);
    meanwhile += written - before;
    EXPECT_TRUE(verified.equal()) << verified.error();
    EXPECT_EQ(verified.repaired_size(), 0) << FromProto(verified.repaired(0)).ToString();
    EXPECT_GT(verified.documents(), 2000);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  Switch();
}

TEST_F(MoveTest, T29_T33_WhatDiffersAtTheTargetIsFoundNamedAndMended) {
  CreateChunk();
  Fill(0, 2000);
  PinAndPrepare();
  ImportUntilCopied();
  ASSERT_TRUE(VerifyUntilDone().equal());  // the tail stands still now
  Tamper(*target_, kTargetCopy, 700, "other content, same count");
  Tamper(*target_, kTargetCopy, 1500, std::nullopt);
  Tamper(*target_, kTargetCopy, 50000, "nobody wrote this");
  const v1::VerifyStatus verified = VerifyUntilDone(1, /*restart=*/true);
  EXPECT_TRUE(verified.equal()) << verified.error();
  ASSERT_EQ(verified.repaired_size(), 3);
  EXPECT_TRUE(FromProto(verified.repaired(0)).Contains(Key(700)));
  EXPECT_TRUE(FromProto(verified.repaired(1)).Contains(Key(1500)));
  EXPECT_TRUE(FromProto(verified.repaired(2)).Contains(Key(50000)));
  Fill(1990, 2100);
  Switch();
}

// One other voter, which says that its copy is sound.
class SoundPeer final : public PeerReplicas {
 public:
  std::vector<PeerReplica> Others() const override { return {{ReplicaId(2), "other"}}; }
  absl::Status FetchFile(const PeerReplica&, CopyId, const std::string&, int64_t,
                         const std::function<absl::Status(std::string_view)>&) override {
    return Unavailable("not asked here");
  }
  absl::StatusOr<v1::HoldSegmentResponse> HoldSegment(const PeerReplica&, const v1::HoldSegmentRequest&,
                                                      std::chrono::milliseconds) override {
    return Unavailable("not asked here");
  }
  absl::StatusOr<Position> Applied(const PeerReplica&) override { return Unavailable("not asked here"); }
  absl::StatusOr<uint64_t> FreeBytes(const PeerReplica&) override { return Unavailable("not asked here"); }
  absl::StatusOr<v1::AuditResponse> Audit(const PeerReplica&, const v1::AuditRequest&,
                                          std::chrono::milliseconds) override {
    return v1::AuditResponse();
  }
  void Stop() override {}
};

// A repair is for all replicas: what mends the damaged one makes the running digests of the sound ones wrong.
TEST_F(MoveTest, T33_ADamagedLeaderOfTheTargetIsNamedAndNotMendedAtTheCostOfTheOthers) {
  target_->peers = [] { return std::make_unique<SoundPeer>(); };
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  ImportUntilCopied();
  ASSERT_TRUE(VerifyUntilDone().equal());
  Tamper(*target_, kTargetCopy, 300, "other content, same count");
  const storage::ChunkDigest running = target_->applier().View()->OfCopy(kTargetCopy).at(0)->digest;
  const v1::VerifyStatus verified = VerifyUntilDone(1, /*restart=*/true);
  EXPECT_FALSE(verified.equal());
  EXPECT_NE(verified.error().find("copy 20 is damaged on the target's leader"), std::string::npos) << verified.error();
  EXPECT_EQ(verified.repaired_size(), 0);
  EXPECT_EQ(LoadOwnership(*target_->store().View())->OfCopy(kTargetCopy).at(0)->digest, running);
}

TEST_F(MoveTest, T33_ADamagedSourceIsRefusedAndServesOn) {
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  ImportUntilCopied();
  Tamper(*source_, kSourceCopy, 100, "changed below the API");
  const v1::VerifyStatus verified = VerifyUntilDone();
  EXPECT_FALSE(verified.equal());
  EXPECT_NE(verified.error().find("the source's copy 10 is damaged"), std::string::npos) << verified.error();
  EXPECT_TRUE(Write({Put(1, "still served")}).ok());
}

TEST_F(MoveTest, ATargetThatRestartsGoesOnWithTheNextSegment) {
  target_->driver.segment_bytes = 16 << 10;
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  CreateChunk();
  Fill(0, 4000);
  PinAndPrepare();
  ImportUntil([](const v1::ImportStatus& status) { return status.segments() >= 5; });
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  auto first = target_->applier().View()->OfCopy(kTargetCopy).front()->import->segments;
  ASSERT_GE(first.size(), 5u);
  for (int n = 0; n < 50; ++n) ASSERT_TRUE(Write({Put(static_cast<uint64_t>(n), "while it was away")}).ok());
  ImportUntilCopied();
  auto all = target_->applier().View()->OfCopy(kTargetCopy).front()->import->segments;
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(all[i].position, first[i].position) << "segment " << i;
  EXPECT_TRUE(VerifyUntilDone().equal());
  Switch();
}

TEST_F(MoveTest, BothShardsRestartWhileItTails) {
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  ImportUntilCopied();
  Fill(500, 700);
  source_->Stop();
  ASSERT_NO_FATAL_FAILURE(source_->Start());
  Fill(700, 900);
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  Fill(900, 1000);
  ImportUntil([](const v1::ImportStatus& status) { return status.copied() && status.documents() == 1000; });
  EXPECT_TRUE(VerifyUntilDone().equal());
  Switch();
}

// The source is away for a while: the import says so and goes on by itself.
TEST_F(MoveTest, ASourceThatIsAwayIsAskedAgain) {
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  v1::ImportStep step;
  *step.mutable_move() = Ref();
  step.set_copy_id(kTargetCopy.value());
  step.add_source_endpoints("127.0.0.1:1");
  const auto status = PollUntil<v1::ImportStatus>([&] { return target_->imports().Import(step); },
                                                  [](const auto& status) { return !status.error().empty(); });
  EXPECT_FALSE(status.copied());
  EXPECT_EQ(status.error_code(), static_cast<int>(absl::StatusCode::kUnavailable));
  // The same attempt with a better address.
  EXPECT_EQ(ImportUntilCopied().documents(), 500);
}

// Tried again as well, but who asks hears that it is not merely away.
TEST_F(MoveTest, AnImportThatIsRefusedSaysSoByItsCode) {
  std::atomic<bool> room = false;
  target_->hold = [&room](auto&&...) { return room ? absl::OkStatus() : absl::ResourceExhaustedError("no space"); };
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  CreateChunk();
  Fill(0, 500);
  PinAndPrepare();
  const auto refused = ImportUntil([](const v1::ImportStatus& status) { return !status.error().empty(); });
  EXPECT_EQ(refused.error(), "no space");
  EXPECT_EQ(refused.error_code(), static_cast<int>(absl::StatusCode::kResourceExhausted));
  room = true;
  const auto copied = ImportUntilCopied();
  EXPECT_EQ(copied.documents(), 500);
  EXPECT_EQ(copied.error_code(), 0);
}

// The leader died in the middle of a repair: half of the range may reflect another position (trap T73).
TEST_F(MoveTest, T73_AnOpenRangeIsBegunAgain) {
  CreateChunk();
  Fill(0, 1000);
  PinAndPrepare();
  ImportUntilCopied();
  ASSERT_TRUE(VerifyUntilDone().equal());
  target_->imports().Stop();
  v1::ShardEntry entry;
  v1::BeginRangeRepair* begin = entry.mutable_begin_range_repair();
  *begin->mutable_move() = Ref();
  begin->set_copy_id(kTargetCopy.value());
  *begin->mutable_range() = ToProto(KeyRange{Key(100), Key(300)});
  begin->set_source_position(source_->store().AppliedPosition().value());
  ASSERT_TRUE(target_->Propose(std::move(entry)).ok());
  Tamper(*target_, kTargetCopy, 150, std::nullopt);
  Fill(50, 350, 100);
  target_->StartImports();
  ImportUntil([&](const v1::ImportStatus&) {
    const auto chunk = *target_->applier().View()->OfCopy(kTargetCopy).front();
    return chunk.import->open_position.value() == 0;
  });
  Fill(400, 500, 50);
  EXPECT_TRUE(VerifyUntilDone().equal());
  Switch();
}

TEST_F(MoveTest, T13_T63_AnAttemptThatEndedDoesNothingMoreAndTheNextGoesOnWithTheCopy) {
  CreateChunk();
  Fill(0, 800);
  PinAndPrepare();
  ImportUntilCopied();
  const EntryResult fence = Fence(1);
  EndAttempt(*source_, kSourceCopy, 1, /*abort=*/false);
  EndAttempt(*target_, kTargetCopy, 1, /*abort=*/false);
  EXPECT_EQ(rpc::ReasonOf(Import(1).status()), v1::ErrorDetail::STALE_ATTEMPT);
  const absl::Status late = Complete(fence, 1).status();
  EXPECT_EQ(rpc::ReasonOf(late), v1::ErrorDetail::STALE_ATTEMPT) << late;
  EXPECT_EQ(Write({Put(5, "with the old token")}).code(), absl::StatusCode::kAborted);
  token_ = Token(kToken.value() + 1);
  EXPECT_TRUE(Write({Put(5, "after the fence was given up")}).ok());
  EXPECT_TRUE(ImportUntilCopied(2).copied());
  EXPECT_TRUE(VerifyUntilDone(2).equal());
  Switch(2);
}

TEST_F(MoveTest, AnAbortRemovesTheCopyAndItsImport) {
  CreateChunk();
  Fill(0, 800);
  PinAndPrepare();
  ImportUntil([](const v1::ImportStatus& status) { return status.segments() > 0; });
  target_->imports().AttemptEnded(FromProto(Ref()), kTargetCopy);
  EndAttempt(*target_, kTargetCopy, 1, /*abort=*/true);
  EXPECT_EQ(rpc::ReasonOf(Import(1).status()), v1::ErrorDetail::STALE_ATTEMPT);
  EXPECT_EQ(Import(2).status().code(), absl::StatusCode::kNotFound);
}

// An import that is over neither tries again nor logs that it cannot, until the shard restarts.
TEST_F(MoveTest, T13_AnImportThatIsOverRests) {
  CreateChunk();
  Fill(0, 800);
  PinAndPrepare();
  ImportUntilCopied();
  EndAttempt(*target_, kTargetCopy, 1, /*abort=*/false);
  // What was under way has ended; from then on nothing happens.
  const auto looks_within = [this](std::chrono::milliseconds time) {
    const int before = target_->looks;
    std::promise<void>().get_future().wait_for(time);
    return target_->looks - before;
  };
  looks_within(std::chrono::milliseconds(300));
  EXPECT_EQ(looks_within(std::chrono::milliseconds(1500)), 0);
  // The next attempt wakes it.
  EXPECT_TRUE(ImportUntilCopied(2).copied());
  EXPECT_TRUE(VerifyUntilDone(2).equal());
  Switch(2);
}

// The tail has read F before anybody asks for K, and then its leader restarts.
// A step that was let in by the leader, and comes to the drivers when the office is lost and they have been ended: one
// that began now would fetch for ever, with nobody to end it.
TEST_F(MoveTest, ALateStepStartsNoImportAtAFollower) {
  CreateChunk();
  Fill(0, 100);
  PinAndPrepare();
  target_->on_look = [this] {
    target_->proposer().SetAdmitted(false);
    target_->imports().LeaderStopped();
  };
  EXPECT_EQ(rpc::ReasonOf(Import().status()), v1::ErrorDetail::NOT_LEADER);
  target_->proposer().SetAdmitted(true);
  ImportUntilCopied();
}

TEST_F(MoveTest, ANewLeaderCompletesWithAFenceThatItHasNotRead) {
  CreateChunk();
  Fill(0, 300);
  PinAndPrepare();
  ImportUntilCopied();
  const EntryResult fence = Fence();
  ImportUntil([&](const v1::ImportStatus& status) { return status.cursor() >= fence.position.value(); });
  target_->Stop();
  ASSERT_NO_FATAL_FAILURE(target_->Start());
  auto complete = Complete(fence);
  ASSERT_TRUE(complete.ok()) << complete.status();
  EXPECT_EQ(complete->digest, fence.digest);
}

TEST_F(MoveTest, KComparesDigestsAndAnswersTheSameWhenAskedAgain) {
  CreateChunk();
  Fill(0, 300);
  PinAndPrepare();
  ImportUntilCopied();
  EntryResult fence = Fence();
  EntryResult wrong = fence;
  wrong.digest.documents.sum.low ^= 1;
  const absl::Status refused = Complete(wrong).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
  EXPECT_EQ(rpc::ReasonOf(refused), v1::ErrorDetail::DIGEST_MISMATCH);
  auto complete = Complete(fence);
  ASSERT_TRUE(complete.ok()) << complete.status();
  auto again = Complete(fence);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->position, complete->position);
  EXPECT_EQ(again->digest, fence.digest);
}

TEST_F(MoveTest, T18_DocumentsLargerThanABatchASegmentAMessage) {
  CreateChunk();
  const std::string large(16 << 20, 'x');
  ASSERT_TRUE(Write({Put(1, large)}).ok());
  ASSERT_TRUE(Write({Put(2, "small")}).ok());
  PinAndPrepare();
  ASSERT_EQ(ImportUntilCopied().documents(), 2);
  ASSERT_TRUE(Write({Put(3, large)}).ok());  // through the tail
  ImportUntil([](const v1::ImportStatus& status) { return status.documents() == 3; });
  EXPECT_TRUE(VerifyUntilDone().equal());
  Switch();
}

TEST_F(MoveTest, T19_AChunkOfOneKeyIsOneSegment) {
  range_ = KeyRange{Key(5), Key(6)};
  CreateChunk();
  std::vector<v1::Change> changes;
  for (int n = 0; n < 2000; ++n) {
    v1::Change change = Put(5, std::string(200, 'x'));
    change.set_id(Key(static_cast<uint64_t>(n)));
    changes.push_back(std::move(change));
  }
  ASSERT_TRUE(Write(std::move(changes)).ok());
  PinAndPrepare();
  EXPECT_EQ(ImportUntilCopied().segments(), 1);
  const v1::VerifyStatus verified = VerifyUntilDone();
  EXPECT_TRUE(verified.equal());
  EXPECT_EQ(verified.documents(), 2000);
  Switch();
}

TEST_F(MoveTest, T19_AnEmptyChunkMovesToo) {
  CreateChunk();
  PinAndPrepare();
  EXPECT_EQ(ImportUntilCopied().documents(), 0);
  EXPECT_TRUE(VerifyUntilDone().equal());
  Switch();
}

// A replica that has not applied the pin, or does not hold the copy, exports nothing rather than an empty range.
TEST_F(MoveTest, T58_OnlyAReplicaThatHasItExports) {
  CreateChunk();
  Fill(0, 10);
  auto source = MakeGrpcImportSource(&target_->pool(), {source_->address()});
  v1::ReadSegmentRequest request;
  *request.mutable_move() = Ref();
  request.set_copy_id(kSourceCopy.value());
  *request.mutable_range() = ToProto(range_);
  auto ignore = [](v1::SegmentBatch*) { return absl::OkStatus(); };
  EXPECT_TRUE(source->ReadSegment(request, ignore).ok());
  request.set_min_position(1'000'000);
  EXPECT_EQ(source->ReadSegment(request, ignore).code(), absl::StatusCode::kUnavailable);
  request.set_min_position(0);
  request.set_copy_id(99);
  EXPECT_EQ(source->ReadSegment(request, ignore).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(MoveTest, T25_T27_AnOplogThatIsNotKeptIsAnError) {
  CreateChunk();
  Fill(0, 10);
  for (int n = 0; n < 20; ++n) ASSERT_TRUE(Write({Put(1, "x")}).ok());
  source_->applier().AllowOplogTrim(Position(15));
  ASSERT_TRUE(Write({Put(1, "y")}).ok());
  auto source = MakeGrpcImportSource(&target_->pool(), {source_->address()});
  v1::ReadOplogRequest request;
  *request.mutable_move() = Ref();
  request.set_copy_id(kSourceCopy.value());
  *request.mutable_range() = ToProto(range_);
  request.set_after(3);
  const absl::Status trimmed = source->ReadOplog(request, false).status();
  EXPECT_EQ(trimmed.code(), absl::StatusCode::kOutOfRange) << trimmed;
  EXPECT_EQ(rpc::ReasonOf(trimmed), v1::ErrorDetail::OPLOG_TRIMMED);
}

// A quiet chunk on a busy shard.
class OplogPiecesTest : public MoveFixture {
 protected:
  // The source as `change` says, with one entry of the chunk behind many of another one.
  void Prepare(const std::function<void()>& change) {
    change();
    source_->Stop();
    ASSERT_NO_FATAL_FAILURE(source_->Start());
    CreateChunk();
    begin_ = source_->store().AppliedPosition();
    v1::ShardEntry other;
    other.mutable_create_chunk()->set_collection_id(4);
    other.mutable_create_chunk()->set_epoch(1);
    *other.mutable_create_chunk()->mutable_range() = ToProto(range_);
    other.mutable_create_chunk()->set_copy_id(11);
    other.mutable_create_chunk()->set_token(kToken.value());
    ASSERT_EQ(source_->Propose(std::move(other)).outcome, Outcome::kApplied);
    for (uint64_t n = 0; n < 50; ++n) {
      v1::ShardEntry entry;
      entry.mutable_write()->set_collection_id(4);
      entry.mutable_write()->set_copy_id(11);
      entry.mutable_write()->set_token(kToken.value());
      *entry.mutable_write()->add_changes() = Put(n, std::string(100, '.'));
      ASSERT_TRUE(source_->ProposeWrite(std::move(entry)).ok());
    }
    ASSERT_TRUE(Write({Put(1, "ours")}).ok());
  }
  // One call ends in time, and the next one goes on where it ended.
  void ExpectReadInPieces() {
    auto source = MakeGrpcImportSource(&target_->pool(), {source_->address()});
    v1::ReadOplogRequest request;
    *request.mutable_move() = Ref();
    request.set_copy_id(kSourceCopy.value());
    *request.mutable_range() = ToProto(range_);
    request.set_after(begin_.value());
    request.set_wait_ms(2000);
    int calls = 0;
    int entries = 0;
    for (uint64_t applied = begin_.value() + 1; request.after() < applied; ++calls) {
      const auto batch = source->ReadOplog(request, false);
      ASSERT_TRUE(batch.ok()) << batch.status();
      ASSERT_GT(batch->up_to(), request.after());
      EXPECT_LE(batch->up_to() - request.after(), 10u);
      applied = batch->applied();
      entries += batch->entries_size();
      request.set_after(batch->up_to());
    }
    EXPECT_GT(calls, 4);
    EXPECT_EQ(entries, 1);
  }

  Position begin_;
};

TEST_F(OplogPiecesTest, T25_WhatIsOfOtherCopiesIsReadInPieces) {
  ASSERT_NO_FATAL_FAILURE(Prepare([this] { source_->oplog_scan_bytes = 1000; }));
  ExpectReadInPieces();
}

// As if each entry took so long to read.
class HurryingClock final : public Clock {
 public:
  MonotonicTime Now() const override { return System()->Now() + std::chrono::milliseconds(400) * ++readings_; }
  WallTime Wall() const override { return System()->Wall(); }

 private:
  mutable std::atomic<int64_t> readings_{0};
};

TEST_F(OplogPiecesTest, T25_ASlowDiskAnswersBeforeItsCallerHasGone) {
  HurryingClock slow;
  ASSERT_NO_FATAL_FAILURE(Prepare([&] { source_->export_clock = &slow; }));
  ExpectReadInPieces();
  source_->Stop();
}

}  // namespace
}  // namespace terrane::shard
