// A checkpoint on its way: streams that break, bytes that change, peers that go, disks that are full.
#include "replication/checkpoint_fetch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/status.h"
#include "replication/checkpoint_keeper.h"
#include "replication/pace.h"
#include "support/clocks.h"
#include "support/fault_file_system.h"

namespace terrane::replication {
namespace {

using terrane::testing::FaultFileSystem;
using terrane::testing::HandClock;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Peers with a checkpoint each; counts what they are asked for and what they send.
class Peers : public Transport {
 public:
  struct Peer {
    Checkpoint checkpoint;
    int asked = 0;
    uint64_t sent = 0;  // data
  };

  // `id` of the checkpoint, on a disk of its own.
  void Add(uint64_t replica, const std::string& id, Position position = Position(7)) {
    Checkpoint& checkpoint = peers[replica].checkpoint;
    checkpoint.id = id;
    checkpoint.directory = StrCat("/peer", replica, "/", id);
    checkpoint.point = {position, Term(2)};
    checkpoint.configuration = "members";
    checkpoint.sums = std::make_shared<FileSums>();
    for (const auto& [name, content] : Files(replica)) disk.SetContent(checkpoint.directory / name, content);
  }
  static std::map<std::string, std::string> Files(uint64_t replica) {
    const char letter = static_cast<char>('a' + replica);
    return {{"1", std::string(700'000, letter)}, {"2", ""}, {"3", std::string(1'500'000, letter)}, {"4", "end"}};
  }
  static constexpr uint64_t kTotal = 700'000 + 1'500'000 + 3;

  void Start(PeerReceiver*) override {}
  void Stop() override {}
  void SetMember(const Member&) override {}
  void Send(PeerBatch, bool) override {}
  absl::Status FetchCheckpoint(ReplicaId from, Position at_least, CheckpointSink* sink,
                               const std::atomic<bool>* cancelled) override {
    auto it = peers.find(from.value());
    if (it == peers.end()) return Unavailable("away");
    Peer& peer = it->second;
    ++peer.asked;
    if (peer.checkpoint.point.position < at_least) return Unavailable("not that far");
    std::string file;
    absl::Status taken;
    absl::Status sent = SendCheckpoint(&disk, peer.checkpoint, sink->Place(), nullptr, [&](v1::CheckpointChunk chunk) {
      if (chunk.has_file()) file = chunk.file().name();
      if (hook) taken = hook(file, &chunk);
      if (!taken.ok()) return false;
      peer.sent += chunk.data().size();
      taken = sink->Take(chunk);
      return taken.ok() && !*cancelled;
    });
    TERRANE_RETURN_IF_ERROR(taken);
    return *cancelled ? absl::CancelledError("cancelled") : sent;
  }

  FaultFileSystem disk;
  std::map<uint64_t, Peer> peers;
  std::function<absl::Status(const std::string& file, v1::CheckpointChunk*)> hook;
};

class CheckpointFetchTest : public ::testing::Test {
 protected:
  CheckpointFetchTest()
      : fetch_({.transport = &peers_,
                .file_system = &disk_,
                .clock = &clock_,
                .directory = "/replica/incoming",
                .patience = std::chrono::seconds(10)}) {}
  absl::StatusOr<Checkpoint> Run(Position at_least = Position(5)) {
    return fetch_.Run(at_least, {ReplicaId(2), ReplicaId(3)}, &cancelled_);
  }
  // It is the one of that peer.
  void ExpectWhole(const absl::StatusOr<Checkpoint>& checkpoint, uint64_t replica) {
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(checkpoint->point.position, peers_.peers[replica].checkpoint.point.position);
    EXPECT_EQ(checkpoint->point.term, Term(2));
    EXPECT_EQ(checkpoint->configuration, "members");
    const auto files = Peers::Files(replica);
    EXPECT_EQ(disk_.List(checkpoint->directory)->size(), files.size());
    for (const auto& [name, content] : files) EXPECT_EQ(disk_.Content(checkpoint->directory / name), content) << name;
    // Synced, too.
    std::mt19937_64 random(1);
    disk_.PowerCut(&random);
    for (const auto& [name, content] : files) EXPECT_EQ(disk_.Content(checkpoint->directory / name), content) << name;
  }
  // The n-th chunk from now on does not arrive, and breaks the stream; each: also those after it.
  void BreakAt(int n, bool each = false) {
    peers_.hook = [n, each](const std::string&, v1::CheckpointChunk*) mutable -> absl::Status {
      --n;
      return n == 0 || (each && n < 0) ? Unavailable("broken") : absl::OkStatus();
    };
  }

  FaultFileSystem disk_;
  Peers peers_;
  HandClock clock_;
  std::atomic<bool> cancelled_{false};
  CheckpointFetch fetch_;
};

TEST_F(CheckpointFetchTest, ComesFromTheFirstThatHasIt) {
  peers_.Add(2, "old", Position(4));
  peers_.Add(3, "new");
  ExpectWhole(Run(), 3);
  EXPECT_EQ(peers_.peers[2].sent, 0u);
  EXPECT_EQ(peers_.peers[3].asked, 1);
}

// Wherever it breaks, nothing that has come comes again.
TEST_F(CheckpointFetchTest, AStreamThatBreaksGoesOnWhereItWas) {
  int breaks = 0;
  for (int at = 1;; ++at) {
    SCOPED_TRACE(at);
    peers_.Add(2, StrCat("c", at));
    peers_.peers[2].sent = 0;
    const int asked = peers_.peers[2].asked;
    BreakAt(at);
    absl::StatusOr<Checkpoint> checkpoint = Run();
    // Before the first byte it is not tried again at once.
    if (!checkpoint.ok()) checkpoint = Run();
    ExpectWhole(checkpoint, 2);
    EXPECT_EQ(peers_.peers[2].sent, Peers::kTotal);
    ++breaks;
    if (peers_.peers[2].asked == asked + 1) break;  // behind its end
  }
  EXPECT_GT(breaks, 12);
}

TEST_F(CheckpointFetchTest, ASenderThatHasAnotherOneBeginsAnew) {
  peers_.Add(2, "first");
  BreakAt(6, /*each=*/true);
  EXPECT_FALSE(Run().ok());
  const uint64_t before = peers_.peers[2].sent;
  EXPECT_GT(before, 0u);
  peers_.hook = nullptr;
  peers_.Add(2, "second", Position(9));
  ExpectWhole(Run(), 2);
  EXPECT_EQ(peers_.peers[2].sent, before + Peers::kTotal);
}

TEST_F(CheckpointFetchTest, AFileThatCameWrongComesAgainAndOnlyThat) {
  peers_.Add(2, "c");
  bool flipped = false;
  peers_.hook = [&](const std::string& file, v1::CheckpointChunk* chunk) {
    if (file == "3" && chunk->has_data() && !flipped) {
      (*chunk->mutable_data())[5] ^= 1;
      flipped = true;
    }
    return absl::OkStatus();
  };
  ExpectWhole(Run(), 2);
  EXPECT_TRUE(flipped);
  EXPECT_EQ(peers_.peers[2].sent, Peers::kTotal + 1'500'000);
}

TEST_F(CheckpointFetchTest, AFileThatIsWrongTimeAndAgainIsNotWaitedFor) {
  peers_.Add(2, "c");
  peers_.Add(3, "d");
  int wrong = 0;
  peers_.hook = [&](const std::string& file, v1::CheckpointChunk* chunk) {
    // It begins with the letter of the sender.
    if (file == "4" && chunk->has_data() && peers_.peers[3].asked == 0) {
      chunk->set_data("End");
      ++wrong;
    }
    return absl::OkStatus();
  };
  ExpectWhole(Run(), 3);
  EXPECT_EQ(wrong, 3);
  EXPECT_EQ(peers_.peers[2].sent, Peers::kTotal + 2 * 3);
}

// A peer that may come back is waited for; then it begins again with another one.
TEST_F(CheckpointFetchTest, WaitsForItsPeerForAWhile) {
  peers_.Add(2, "c");
  peers_.Add(3, "d");
  BreakAt(8, /*each=*/true);
  EXPECT_FALSE(Run().ok());
  clock_.Advance(std::chrono::seconds(9));
  EXPECT_FALSE(Run().ok());
  EXPECT_EQ(peers_.peers[3].asked, 0);
  peers_.hook = nullptr;
  ExpectWhole(Run(), 2);
  EXPECT_EQ(peers_.peers[2].sent, Peers::kTotal);

  BreakAt(8, /*each=*/true);
  EXPECT_FALSE(Run().ok());
  peers_.hook = nullptr;
  peers_.peers.erase(2);
  clock_.Advance(std::chrono::seconds(9));
  EXPECT_FALSE(Run().ok());
  clock_.Advance(std::chrono::seconds(2));
  ExpectWhole(Run(), 3);
}

TEST_F(CheckpointFetchTest, WhatIsTooOldByNowIsNotGoneOnWith) {
  peers_.Add(2, "c");
  peers_.Add(3, "d", Position(30));
  BreakAt(8, /*each=*/true);
  EXPECT_FALSE(Run().ok());
  peers_.hook = nullptr;
  ExpectWhole(Run(Position(20)), 3);
}

TEST_F(CheckpointFetchTest, T39_ADiskWithoutRoomIsNamedBeforeTheFirstByte) {
  peers_.Add(2, "c");
  disk_.SetSpace({.total_bytes = 400'000'000, .free_bytes = 101'000'000});
  const absl::Status refused = Run().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  // 2,200,003 bytes of files, and a quarter of the disk for what must go on when it is full.
  EXPECT_THAT(refused.ToString(),
              AllOf(HasSubstr("/replica/incoming"), HasSubstr("101000000 bytes free"), HasSubstr("needs 102200003")));
  EXPECT_EQ(peers_.peers[2].sent, 0u);
  disk_.SetSpace({.total_bytes = 400'000'000, .free_bytes = 103'000'000});
  ExpectWhole(Run(), 2);
}

TEST_F(CheckpointFetchTest, EndsWhenItIsCancelled) {
  peers_.Add(2, "c");
  peers_.hook = [&](const std::string& file, v1::CheckpointChunk*) {
    if (file == "3") cancelled_ = true;
    return absl::OkStatus();
  };
  EXPECT_TRUE(absl::IsCancelled(Run().status()));
  EXPECT_EQ(peers_.peers[2].asked, 1);
}

// Chunks by hand.
class CheckpointSinkTest : public ::testing::Test {
 protected:
  absl::Status Header(const std::string& id) {
    v1::CheckpointChunk chunk;
    chunk.mutable_checkpoint()->set_id(id);
    chunk.mutable_checkpoint()->set_position(3);
    return sink_.Take(chunk);
  }
  absl::Status File(const std::string& name, uint64_t bytes, uint64_t checksum = 0) {
    v1::CheckpointChunk chunk;
    chunk.mutable_file()->set_name(name);
    chunk.mutable_file()->set_bytes(bytes);
    chunk.mutable_file()->set_checksum(checksum);
    return sink_.Take(chunk);
  }
  absl::Status Data(const std::string& data) {
    v1::CheckpointChunk chunk;
    chunk.set_data(data);
    return sink_.Take(chunk);
  }
  absl::Status End(uint64_t files, uint32_t crc) {
    v1::CheckpointChunk chunk;
    chunk.mutable_end()->set_files(files);
    chunk.mutable_end()->set_crc32c(crc);
    return sink_.Take(chunk);
  }
  FaultFileSystem disk_;
  CheckpointSink sink_{&disk_, "/in"};
};

// As programs before this one send: neither id nor checksums of files.
TEST_F(CheckpointSinkTest, TakesCheckpointsOfOlderSenders) {
  ASSERT_TRUE(Header("").ok());
  ASSERT_TRUE(File("f", 9).ok());
  ASSERT_TRUE(Data("12345").ok());
  EXPECT_EQ(sink_.Place().id, "") << "nothing to go on with";
  ASSERT_TRUE(Data("6789").ok());
  ASSERT_TRUE(End(1, 0xe3069283).ok());
  EXPECT_TRUE(sink_.Finish().ok());
  sink_.BeginStream();
  ASSERT_TRUE(Header("").ok());
  ASSERT_TRUE(File("f", 9).ok());
  ASSERT_TRUE(Data("123456780").ok());
  EXPECT_TRUE(absl::IsDataLoss(End(1, 0xe3069283)));
  EXPECT_FALSE(sink_.Finish().ok());
}

// Its sender could not list its files. Installed, it would be taken for damage of the own directory.
TEST_F(CheckpointSinkTest, RefusesOneWithoutFiles) {
  ASSERT_TRUE(Header("c").ok());
  EXPECT_TRUE(absl::IsDataLoss(End(0, 0)));
  EXPECT_FALSE(sink_.Finish().ok());
  EXPECT_EQ(sink_.Place().id, "") << "it is not gone on with";
}

TEST_F(CheckpointSinkTest, RefusesWhatIsNoCheckpoint) {
  EXPECT_TRUE(absl::IsDataLoss(Data("x"))) << "no header";
  ASSERT_TRUE(Header("c").ok());
  EXPECT_TRUE(absl::IsDataLoss(Data("x"))) << "no file";
  for (const char* name : {"", ".", "..", "../x", "/x", "a/b"}) EXPECT_TRUE(absl::IsDataLoss(File(name, 1))) << name;
  EXPECT_TRUE(absl::IsDataLoss(sink_.Take(v1::CheckpointChunk())));
  ASSERT_TRUE(File("f", 2).ok());
  ASSERT_TRUE(Data("1").ok());
  EXPECT_TRUE(absl::IsDataLoss(File("g", 1))) << "the one before is not whole";
  EXPECT_TRUE(absl::IsDataLoss(End(1, 0)));
  EXPECT_TRUE(absl::IsDataLoss(Data("23"))) << "too long";
  EXPECT_EQ(sink_.Place().file, "f");
  EXPECT_EQ(sink_.Place().offset, 0u);
  EXPECT_FALSE(sink_.Finish().ok());
}

TEST(SendCheckpointTest, APlaceThatIsNoneIsRefused) {
  Peers peers;
  peers.Add(2, "c");
  const auto send = [&](const CheckpointPlace& place) {
    return SendCheckpoint(&peers.disk, peers.peers[2].checkpoint, place, nullptr, [](auto) { return true; });
  };
  EXPECT_TRUE(send({"c", "3", 1'500'000}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(send({"c", "3", 1'500'001})));
  EXPECT_TRUE(absl::IsInvalidArgument(send({"c", "5", 0})));
  EXPECT_TRUE(send({"other", "5", 0}).ok()) << "from the beginning";
}

// No more than the rate, by a clock that goes on only while somebody waits.
TEST(PaceTest, BoundsWhatIsSent) {
  constexpr uint64_t kRate = 1'000'000;
  HandClock clock;
  const MonotonicTime began = clock.now;
  Pace pace(kRate, &clock);
  Peers peers;
  peers.Add(2, "c");
  uint64_t sent = 0;
  auto wait = [&](uint64_t bytes) {
    const auto turn = pace.Book(bytes);
    clock.Advance(turn);
    const double seconds = std::chrono::duration<double>(clock.now.load() - began + Pace::kBurst).count();
    EXPECT_LE(static_cast<double>(sent), seconds * kRate + 1);
    sent += bytes;
    return absl::OkStatus();
  };
  ASSERT_TRUE(SendCheckpoint(&peers.disk, peers.peers[2].checkpoint, {}, wait, [](auto) { return true; }).ok());
  EXPECT_EQ(sent, Peers::kTotal);
  EXPECT_GE(clock.now.load() - began, std::chrono::milliseconds(1'800));
  // And no less: nobody waits who need not.
  EXPECT_LE(clock.now.load() - began, std::chrono::milliseconds(2'200));
  Pace none(0, &clock);
  EXPECT_EQ(none.Book(1 << 30).count(), 0);
}

TEST(CheckpointKeeperTest, KeepsItWhileItIsReadAndForAWhile) {
  HandClock clock;
  const auto keeper = std::make_shared<CheckpointKeeper>(&clock, std::chrono::seconds(60));
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->id = "c";
  checkpoint->point.position = Position(5);
  const std::weak_ptr<Checkpoint> there = checkpoint;
  EXPECT_EQ(keeper->Lend(Position(1)), nullptr);
  keeper->Keep(std::move(checkpoint));
  EXPECT_EQ(keeper->Lend(Position(6)), nullptr);
  EXPECT_EQ(keeper->Lend(Position(5), "d"), nullptr);
  std::shared_ptr<const Checkpoint> lent = keeper->Lend(Position(5), "c");
  ASSERT_NE(lent, nullptr);
  clock.Advance(std::chrono::seconds(500));
  EXPECT_EQ(keeper->Expired(), nullptr) << "it is read";
  lent.reset();
  clock.Advance(std::chrono::seconds(59));
  EXPECT_EQ(keeper->Expired(), nullptr);
  lent = keeper->Lend(Position(5), "c");  // a stream that goes on
  EXPECT_NE(lent, nullptr);
  lent.reset();
  clock.Advance(std::chrono::seconds(59));
  EXPECT_EQ(keeper->Expired(), nullptr);
  clock.Advance(std::chrono::seconds(1));
  EXPECT_NE(keeper->Expired(), nullptr);
  EXPECT_TRUE(there.expired());

  // Who reads it at the end still does.
  keeper->Keep(std::make_shared<Checkpoint>());
  lent = keeper->Lend(Position(0));
  keeper->Close();
  EXPECT_EQ(keeper->Lend(Position(0)), nullptr);
  EXPECT_NE(lent, nullptr);
  lent.reset();
  keeper->Keep(std::make_shared<Checkpoint>());
  EXPECT_EQ(keeper->Lend(Position(0)), nullptr);
}

}  // namespace
}  // namespace terrane::replication
