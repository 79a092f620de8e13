// Segment files between the replicas of a shard: real stores and real files, with calls within this process.
#include "shard/segment_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>

#include "common/status.h"
#include "shard/convert.h"
#include "support/await.h"
#include "support/temp_directory.h"

namespace terrane::shard {
namespace {

using storage::SegmentFile;
using testing::Await;

constexpr CopyId kCopy(20);
const MoveRef kMove{MigrationId(7), Attempt(1)};

class Node;
using Nodes = std::map<std::string, std::unique_ptr<Node>>;

// Calls go straight to the other node.
class LocalPeers final : public PeerReplicas {
 public:
  LocalPeers(Nodes* nodes, std::string own) : nodes_(nodes), own_(std::move(own)) {}
  std::vector<PeerReplica> Others() const override;
  absl::Status FetchFile(const PeerReplica& peer, CopyId copy, const std::string& name, int64_t offset,
                         const std::function<absl::Status(std::string_view)>& on_data) override;
  absl::StatusOr<v1::HoldSegmentResponse> HoldSegment(const PeerReplica& peer, const v1::HoldSegmentRequest& request,
                                                      std::chrono::milliseconds) override;
  absl::StatusOr<Position> Applied(const PeerReplica& peer) override;
  absl::StatusOr<uint64_t> FreeBytes(const PeerReplica&) override { return Unavailable("not asked here"); }
  absl::StatusOr<v1::AuditResponse> Audit(const PeerReplica&, const v1::AuditRequest&,
                                          std::chrono::milliseconds) override {
    return Unavailable("not asked here");
  }
  void Stop() override {}

 private:
  absl::StatusOr<Node*> Reach(const PeerReplica& peer) const;
  Nodes* const nodes_;
  const std::string own_;
};

class Node {
 public:
  Node(const std::filesystem::path& directory, Nodes* nodes, const std::string& name) : name_(name) {
    storage::StoreOptions options;
    options.directory = directory / name;
    options.disk_usage = [this]() -> storage::DiskUsage {
      return {"", uint64_t{20} << 30, full ? uint64_t{1} << 20 : uint64_t{10} << 30, 0};
    };
    auto store = storage::Store::Open(options);
    EXPECT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    Make(std::make_unique<LocalPeers>(nodes, name));
  }
  void Make(std::unique_ptr<PeerReplicas> peers) {
    SegmentFiles::Options options;
    options.store = store_.get();
    options.peers = std::move(peers);
    options.endpoint = [this] { return name_; };
    options.ownership = [this] { return std::make_shared<const Ownership>(ownership); };
    options.log_first = [this] { return log_first.load(); };
    options.hold_timeout = std::chrono::milliseconds(300);
    options.patience = std::chrono::milliseconds(200);
    options.pause = std::chrono::milliseconds(5);
    options.hand_on = [this] { ++handed_on; };
    files_ = std::make_unique<SegmentFiles>(std::move(options));
  }
  SegmentFiles& files() { return *files_; }
  storage::Store& store() { return *store_; }
  bool Has(const storage::BuiltSegment& built) {
    return std::all_of(built.files.begin(), built.files.end(),
                       [&](const SegmentFile& file) { return store_->HasSegmentFile(file); });
  }
  size_t FileCount() const {
    size_t count = 0;
    for (const auto& file : std::filesystem::directory_iterator(store_->SegmentPath("x").parent_path())) {
      count += file.is_regular_file() ? 1 : 0;
    }
    return count;
  }
  void Ingest(const storage::BuiltSegment& built, Position position) {
    ASSERT_TRUE(store_->Ingest(built.files).ok());
    std::vector<std::string> names;
    for (const SegmentFile& file : built.files) names.push_back(file.name);
    auto batch = store_->NewBatch();
    batch->MarkIngested(names);
    ASSERT_TRUE(batch->Commit(position).ok());
  }
  void Forget(const storage::BuiltSegment& built) {
    for (const SegmentFile& file : built.files) std::filesystem::remove(store_->SegmentPath(file.name));
  }

  std::atomic<bool> up{true};
  std::atomic<bool> slow{false};            // its answers do not come while true
  std::atomic<size_t> cut_after{SIZE_MAX};  // bytes that it sends before the connection breaks
  std::atomic<bool> full{false};            // its disk is below the reserve
  std::atomic<bool> flips{false};           // a bit of what it sends
  std::atomic<Position> log_first{Position(1)};
  std::atomic<int> handed_on{0};
  Ownership ownership;

 private:
  const std::string name_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<SegmentFiles> files_;
};

std::vector<PeerReplica> LocalPeers::Others() const {
  std::vector<PeerReplica> others;
  for (const auto& [name, node] : *nodes_) {
    if (name != own_) others.push_back({ReplicaId(others.size() + 1), name});
  }
  return others;
}
absl::StatusOr<Node*> LocalPeers::Reach(const PeerReplica& peer) const {
  Node* node = nodes_->at(peer.endpoint).get();
  Await([&] { return !node->slow; });
  if (!node->up) return Unavailable(peer.endpoint, " does not answer");
  return node;
}
absl::Status LocalPeers::FetchFile(const PeerReplica& peer, CopyId copy, const std::string& name, int64_t offset,
                                   const std::function<absl::Status(std::string_view)>& on_data) {
  TERRANE_ASSIGN_OR_RETURN(Node* const node, Reach(peer));
  absl::Status taken;
  size_t sent = 0;
  const size_t most = node->cut_after;
  absl::Status status = node->files().Read(copy, name, offset, [&](std::string data) {
    if (node->flips) data[data.size() / 2] ^= 1;
    data.resize(std::min(data.size(), most - sent));
    sent += data.size();
    taken = on_data(data);
    return taken.ok() && sent < most;
  });
  if (sent >= most) return Unavailable("the connection broke");
  return taken.ok() ? status : taken;
}
absl::StatusOr<v1::HoldSegmentResponse> LocalPeers::HoldSegment(const PeerReplica& peer,
                                                                const v1::HoldSegmentRequest& request,
                                                                std::chrono::milliseconds) {
  TERRANE_ASSIGN_OR_RETURN(Node* const node, Reach(peer));
  return node->files().Hold(request);
}
absl::StatusOr<Position> LocalPeers::Applied(const PeerReplica& peer) {
  TERRANE_ASSIGN_OR_RETURN(Node* const node, Reach(peer));
  return node->store().AppliedPosition();
}

class SegmentFilesTest : public ::testing::Test {
 protected:
  SegmentFilesTest() {
    for (const char* name : {"a", "b", "c"}) nodes_[name] = std::make_unique<Node>(directory_.path(), &nodes_, name);
  }
  ~SegmentFilesTest() override {
    for (auto& [name, node] : nodes_) node->slow = false;
    for (auto& [name, node] : nodes_) node->files().Stop();
    // Calls that are under way reach into other nodes.
    for (auto& [name, node] : nodes_) node->Make(nullptr);
    nodes_.clear();
  }

  storage::BuiltSegment Build(Node& node, int from = 0) {
    auto writer = node.store().NewSegment(kCopy, "m7-a1");
    EXPECT_TRUE(writer.ok());
    for (int n = from; n < from + 100; ++n) {
      EXPECT_TRUE((*writer)->AddDocument(StrCat("key", 1000 + n), "id", std::string(200, 'x')).ok());
    }
    auto built = (*writer)->Finish();
    EXPECT_TRUE(built.ok());
    return *built;
  }
  absl::Status Hold(Node& node, const storage::BuiltSegment& built) {
    return node.files().HoldOnMajority(kMove, kCopy, built.files, [] { return false; });
  }

  TempDirectory directory_{"files"};
  Nodes nodes_;
  Node& a_() { return *nodes_["a"]; }
  Node& b_() { return *nodes_["b"]; }
  Node& c_() { return *nodes_["c"]; }
};

// Before the entry: two of three have it, whoever of the others is away.
TEST_F(SegmentFilesTest, T60_AMajorityHoldsTheFilesBeforeTheEntry) {
  c_().up = false;
  const auto built = Build(a_());
  const absl::Status held = Hold(a_(), built);
  EXPECT_TRUE(held.ok()) << held;
  EXPECT_TRUE(b_().Has(built));
  EXPECT_FALSE(c_().Has(built));
  b_().up = false;
  const auto next = Build(a_(), 100);
  const absl::Status refused = Hold(a_(), next);
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_NE(refused.message().find("1 of 3"), std::string::npos) << refused;
}

TEST_F(SegmentFilesTest, TheSlowOneIsNotWaitedForAndFetchesMeanwhile) {
  c_().slow = true;
  const auto built = Build(a_());
  ASSERT_TRUE(Hold(a_(), built).ok());
  EXPECT_FALSE(c_().Has(built));
  c_().slow = false;
  EXPECT_TRUE(Await([&] { return c_().Has(built); }));
}

// Their calls take no thread that the others need.
TEST_F(SegmentFilesTest, TwoSlowOnesOfFiveDoNotHoldUpTheMajority) {
  for (const char* name : {"d", "e"}) {
    nodes_[name] = std::make_unique<Node>(directory_.path(), &nodes_, name);
    nodes_[name]->slow = true;
  }
  for (int n = 0; n < 3; ++n) {
    const absl::Status held = Hold(a_(), Build(a_(), 100 * n));
    EXPECT_TRUE(held.ok()) << n << ": " << held;
  }
}

TEST_F(SegmentFilesTest, AStoppedImportDoesNotWaitForAMajority) {
  b_().up = c_().up = false;
  const auto built = Build(a_());
  const absl::Status status = a_().files().HoldOnMajority(kMove, kCopy, built.files, [] { return true; });
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(SegmentFilesTest, T13_NothingIsHeldForAnAttemptThatHasEnded) {
  v1::EndAttemptEntry end;
  *end.mutable_move() = ToProto(kMove);
  end.set_abort(true);
  for (Node* node : {&b_(), &c_()}) node->ownership.ApplyEndAttempt(end, Position(1));
  const absl::Status status = Hold(a_(), Build(a_()));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(b_().FileCount(), 0u);
}

// Nothing new is taken on below the reserve; what is committed is applied, and so are the deletes and drops behind it.
TEST_F(SegmentFilesTest, AFullDiskRefusesToHoldAndNotToApply) {
  b_().full = c_().full = true;
  const auto built = Build(a_());
  const absl::Status held = Hold(a_(), built);
  EXPECT_TRUE(absl::IsUnavailable(held)) << held;
  EXPECT_NE(held.message().find("reserve"), std::string::npos) << held;
  EXPECT_EQ(b_().FileCount() + c_().FileCount(), 0u);
  auto provided = std::async(std::launch::async, [&] { return b_().files().Provide(kCopy, built.files); });
  EXPECT_TRUE(Await([&] { return b_().Has(built) || b_().handed_on > 0; }));
  b_().files().Stop();
  const absl::Status status = provided.get();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(b_().Has(built));
}

// On apply: from any peer, past those that are away, break off or send damage.
TEST_F(SegmentFilesTest, T60_WhatIsMissingAtApplyIsFetchedFromAnyPeer) {
  const auto built = Build(c_());
  a_().up = false;
  ASSERT_TRUE(b_().files().Provide(kCopy, built.files).ok());
  EXPECT_TRUE(b_().Has(built));
  // The one sends damage, the other breaks off in the middle at first.
  b_().flips = true;
  a_().up = true;
  c_().cut_after = 1000;
  auto provided = std::async(std::launch::async, [&] { return a_().files().Provide(kCopy, built.files); });
  EXPECT_TRUE(Await([&] { return a_().handed_on > 0; }));  // nothing is applied meanwhile
  EXPECT_FALSE(a_().Has(built));
  c_().cut_after = SIZE_MAX;
  EXPECT_TRUE(provided.get().ok());
  EXPECT_TRUE(a_().Has(built));
}

TEST_F(SegmentFilesTest, ABrokenFetchGoesOnAtAnotherPeer) {
  const auto built = Build(c_());
  ASSERT_TRUE(b_().files().Provide(kCopy, built.files).ok());
  b_().cut_after = 1000;
  ASSERT_TRUE(a_().files().Provide(kCopy, built.files).ok());
  EXPECT_TRUE(a_().Has(built));
}

TEST_F(SegmentFilesTest, ADamagedFileOfOnesOwnIsFetchedAgain) {
  const auto built = Build(a_());
  ASSERT_TRUE(Hold(a_(), built).ok());
  std::fstream(a_().store().SegmentPath(built.files[0].name), std::ios::in | std::ios::out | std::ios::binary).put('!');
  EXPECT_FALSE(a_().Has(built));
  ASSERT_TRUE(Await([&] { return b_().Has(built) || c_().Has(built); }));
  ASSERT_TRUE(a_().files().Provide(kCopy, built.files).ok());
  EXPECT_TRUE(a_().Has(built));
}

TEST_F(SegmentFilesTest, WhatNobodyHasAnyMoreNeedsACheckpoint) {
  const auto built = Build(a_());
  a_().Forget(built);
  EXPECT_TRUE(absl::IsNotFound(b_().files().Provide(kCopy, built.files)));
  // One of them does not answer: it is waited for, but not for ever.
  c_().up = false;
  EXPECT_TRUE(absl::IsNotFound(b_().files().Provide(kCopy, built.files)));
}

TEST_F(SegmentFilesTest, NobodyAnswersIsNoEvidenceAndStopEndsTheWait) {
  const auto built = Build(a_());
  a_().up = c_().up = false;
  auto provided = std::async(std::launch::async, [&] { return b_().files().Provide(kCopy, built.files); });
  EXPECT_TRUE(Await([&] { return b_().handed_on > 60; }));  // longer than its patience
  b_().files().Stop();
  EXPECT_TRUE(absl::IsCancelled(provided.get()));
}

// Kept while a peer may ask: until all have applied the entry, or it has left the own log.
TEST_F(SegmentFilesTest, T60_FilesAreKeptUntilAllHaveAppliedTheirEntry) {
  const auto built = Build(a_());
  const auto next = Build(a_(), 100);
  for (const auto* segment : {&built, &next}) ASSERT_TRUE(Hold(a_(), *segment).ok());
  ASSERT_TRUE(Await([&] { return b_().Has(next) && c_().Has(next) && b_().Has(built) && c_().Has(built); }));
  a_().Ingest(built, Position(5));
  b_().Ingest(built, Position(5));
  a_().files().Tidy();
  EXPECT_TRUE(a_().Has(built)) << "c has not applied it";
  c_().Ingest(built, Position(5));
  b_().up = false;
  a_().files().Tidy();
  EXPECT_TRUE(a_().Has(built)) << "b does not say";
  b_().up = true;
  a_().files().Tidy();
  EXPECT_FALSE(a_().Has(built));
  EXPECT_TRUE(a_().Has(next));
  a_().Ingest(next, Position(6));
  a_().files().Tidy();
  EXPECT_TRUE(a_().Has(next));
  a_().log_first = Position(7);
  a_().files().Tidy();
  EXPECT_FALSE(a_().Has(next)) << "nobody can be sent the entry by this replica";
  EXPECT_EQ(a_().FileCount(), 0u);
}

// What an import left behind goes when its copy is no import any more, and not before.
TEST_F(SegmentFilesTest, FilesOfAnImportThatIsOverDoNotLeak) {
  const auto built = Build(a_());
  a_().files().Tidy();
  EXPECT_TRUE(a_().Has(built)) << "the copy is not known yet: its entries may come";
  v1::PrepareCopy prepare;
  *prepare.mutable_move() = ToProto(kMove);
  prepare.set_collection_id(3);
  prepare.set_epoch(1);
  prepare.set_copy_id(kCopy.value());
  prepare.set_token(5);
  prepare.set_source("s1");
  prepare.set_source_copy(10);
  prepare.set_pin(1);
  *prepare.mutable_range() = ToProto(KeyRange());
  ASSERT_EQ(a_().ownership.ApplyPrepare(prepare, Position(1)).outcome, Outcome::kApplied);
  a_().files().Tidy();
  EXPECT_TRUE(a_().Has(built));
  v1::EndAttemptEntry end;
  *end.mutable_move() = ToProto(kMove);
  end.set_copy_id(kCopy.value());
  end.set_collection_id(3);
  end.set_token(6);
  *end.mutable_range() = ToProto(KeyRange());
  end.set_abort(true);
  a_().ownership.ApplyEndAttempt(end, Position(2));
  a_().files().Tidy();
  EXPECT_FALSE(a_().Has(built));
  EXPECT_EQ(a_().FileCount(), 0u);
}

TEST_F(SegmentFilesTest, ANameThatIsNoSegmentFileIsRefused) {
  for (const char* name : {"../current", "c20-m7-a1-/../../current.sst", "c21-m7-a1-0-documents.sst", "current", ""}) {
    const absl::Status status = a_().files().Read(kCopy, name, 0, [](std::string) { return true; });
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace terrane::shard
