// A copy that has moved away is removed: whole or half, under readers, across another state that is installed.
#include "rpc/status.h"
#include "support/await.h"
#include "switch_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using Reason = v1::ErrorDetail;
using testing::Await;
using CopyDropTest = SwitchFixture;

TEST_F(CopyDropTest, T22_DroppedCopyIsGoneAndItsSuccessorIsNot) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  Do(Fence());
  ASSERT_TRUE(Do(Release()).ok());
  const MoveRef back{MigrationId(8), Attempt(1)};
  ASSERT_TRUE(Do(Prepare(back, CopyId(30))).ok());
  v1::ShardEntry drop;
  *drop.mutable_drop_copy() = Whole(Drop(kCopy));
  ASSERT_EQ(Propose(drop).outcome, Outcome::kApplied);
  EXPECT_EQ(WriteReason(RouteTo()), Reason::STALE_ROUTE);
  const auto on_disk = [&] {
    const auto copies = host_->store().ListCopies();
    EXPECT_TRUE(copies.ok());
    return std::any_of(copies->begin(), copies->end(), [](const auto& there) { return there.copy == kCopy; });
  };
  while (on_disk()) std::this_thread::yield();
  EXPECT_NE(host_->applier().View()->OfCopy(CopyId(30)).size(), 0u);
  // It is remembered as gone with the next entry.
  const auto remembered = [&] {
    Do(Prepare(back, CopyId(30)));
    return host_->applier().View()->dropping().empty();
  };
  while (!remembered()) std::this_thread::yield();
}

// What was removed from the old state is still to be removed from the one that takes its place.
TEST_F(CopyDropTest, T22_ADropIsOwedByTheStateThatIsInstalledToo) {
  drop_pause_ = std::chrono::milliseconds(200);
  Restart();
  v1::ShardInsertRequest request;
  *request.mutable_route() = RouteTo();
  // Many batches of the janitor's: it begins at once, before the checkpoint and behind it.
  for (int i = 0; i < 30; ++i) AddDocument(StrCat(R"({"_id":)", i, R"(,"k":"a)", i, R"("})"), &request);
  v1::ShardInsertResponse response;
  ASSERT_TRUE(Insert(request, &response).ok());
  SplitAtM();
  ASSERT_TRUE(DoLeft(Fence(), &v1::ShardEntry::mutable_fence).ok());
  ASSERT_TRUE(DoLeft(Release(), &v1::ShardEntry::mutable_release_copy).ok());
  ASSERT_TRUE(DoLeft(Drop(kCopy), &v1::ShardEntry::mutable_drop_copy).ok());
  const auto left_over = [&] {
    const auto view = host_->store().View(kCopy);
    return (*view)->Documents(kCopy, left_, /*for_scan=*/true)->Valid();
  };
  // A peer's state of the same position, in which less has been removed.
  const std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_TRUE(host_->store().TakeCheckpoint(checkpoint).ok());
  ASSERT_TRUE(Await([&] { return !left_over() && host_->store().Statistics().pending_drops == 0; }));
  const Position position(host_->store().AppliedPosition().value() + 1);
  host_->proposer().log()->Stop();
  ASSERT_TRUE(host_->applier().InstallCheckpoint(checkpoint).ok());
  ASSERT_TRUE(left_over());
  const replication::CommittedEntry next{.position = position, .term = Term(1), .data = {}, .internal = true};
  replication::ApplyResult result;
  ASSERT_TRUE(host_->applier().Apply({&next, 1}, {&result, 1}).ok());
  const auto ownership = LoadOwnership(*host_->store().View());
  ASSERT_TRUE(ownership.ok());
  EXPECT_EQ(ownership->dropping().size(), 1u) << "a restart would leave it where it is";
  EXPECT_TRUE(Await([&] { return !left_over(); }));
}

// Between the old data and the ownership of the new nothing is served by the old ownership.
TEST_F(CopyDropTest, T22_NothingIsServedWhileAnotherStateIsInstalled) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  const std::filesystem::path checkpoint = directory_ / "checkpoint";
  std::filesystem::create_directory(checkpoint);
  ASSERT_TRUE(host_->store().TakeCheckpoint(checkpoint).ok());
  v1::ShardGetRequest request;
  *request.mutable_route() = RouteTo();
  request.mutable_key()->set_shard_key(KeyOf("a"));
  request.mutable_key()->set_id(IdOf(1));
  v1::ShardGetResponse response;
  // It ends in the middle, which is where a request may look.
  ASSERT_FALSE(host_->applier().InstallCheckpoint(directory_ / "nowhere").ok());
  const absl::Status refused = Read(&ReadPath::Get, request, &response);
  EXPECT_EQ(rpc::ReasonOf(refused), Reason::STALE_ROUTE) << refused;
  ASSERT_TRUE(host_->applier().InstallCheckpoint(checkpoint).ok());
  EXPECT_EQ(Get("a", 1), R"({"_id":1,"k":"a"})");
}

TEST_F(CopyDropTest, T62_HalfOfACopyLeavesNothingBehind) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "n"})").ok());
  SplitAtM();
  MoveTheLeftHalfAway([&] {
    EXPECT_TRUE(Insert(R"({"_id": 3, "k": "o"})").ok());  // the other half is not disturbed
  });
  EXPECT_EQ(Get("n", 2), R"({"_id":2,"k":"n"})");
  ExpectSoundCopy();
}

// What they find when their turn comes is half a copy without their half.
TEST_F(CopyDropTest, T62_WritesThatWaitedWhileTheirHalfWasRemovedDoNotSayThatNothingMatches) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  ASSERT_TRUE(Insert(R"({"_id": 2, "k": "n"})").ok());
  SplitAtM();
  std::promise<Latches::Hold> held;
  host_->core().latches->Acquire({DocumentLatch(kCopy, KeyOf("a"), IdOf(1))},
                                 [&](Latches::Hold hold) { held.set_value(std::move(hold)); });
  Latches::Hold hold = held.get_future().get();
  const v1::ShardModifyRequest one = ModifyOf("a", 1, R"({"$set": {"v": 1}})");
  v1::ShardModifyManyRequest many;
  *many.mutable_route() = RouteTo();
  *many.mutable_route()->mutable_range() = ToProto(left_);
  many.set_filter(Json(R"({"_id": 1})"));
  many.set_update(Json(R"({"$set": {"v": 1}})"));
  v1::ShardModifyResponse one_response;
  v1::ShardModifyManyResponse many_response;
  std::promise<absl::Status> one_done, many_done;
  host_->writes().Modify({}, &one, &one_response, [&](absl::Status status) { one_done.set_value(status); });
  host_->writes().ModifyMany({}, &many, &many_response, [&](absl::Status status) { many_done.set_value(status); });
  MoveTheLeftHalfAway();
  hold.Release();
  const absl::Status of_one = one_done.get_future().get();
  EXPECT_EQ(rpc::ReasonOf(of_one), v1::ErrorDetail::STALE_ROUTE) << of_one << one_response.ShortDebugString();
  const absl::Status of_many = many_done.get_future().get();
  EXPECT_EQ(rpc::ReasonOf(of_many), v1::ErrorDetail::STALE_ROUTE) << of_many << many_response.ShortDebugString();
}

TEST_F(CopyDropTest, T34_CopyUnderAReadIsNotRemoved) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  auto view = host_->store().View(kCopy);
  ASSERT_TRUE(view.ok());
  Do(Fence());
  Do(Release());
  v1::ShardEntry drop;
  *drop.mutable_drop_copy() = Whole(Drop(kCopy));
  Propose(drop);
  // The removal of another copy was asked for later and is done: this one's has had its turn.
  std::promise<absl::Status> other;
  host_->store().ScheduleDrop(CopyId(99), std::nullopt, [&](absl::Status status) { other.set_value(status); });
  EXPECT_TRUE(other.get_future().get().ok());
  const auto remembered = [&] {
    Do(Prepare());  // what is done is forgotten with the next entry
    return host_->applier().View()->dropping().size() == 1;
  };
  EXPECT_TRUE(remembered());
  EXPECT_TRUE((*view)->GetDocument(kCopy, KeyOf("a"), IdOf(1))->has_value());
  view->reset();
  while (remembered()) std::this_thread::yield();
}

}  // namespace
}  // namespace terrane::shard
