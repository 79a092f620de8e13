// The threads on which steps of moves run.
#include "shard/move_service.h"

#include <grpcpp/grpcpp.h>

#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "shard_fixture.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace {

class LookedAt : public ImportController {
 public:
  absl::StatusOr<v1::ImportStatus> Import(const v1::ImportStep&) override { return v1::ImportStatus(); }
  absl::StatusOr<v1::VerifyStatus> Verify(const v1::VerifyStep&) override { return v1::VerifyStatus(); }
  absl::StatusOr<EntryResult> Complete(const v1::CompleteStep&, MonotonicTime) override {
    return EntryResult{.outcome = Outcome::kApplied};
  }
  void AttemptEnded(const MoveRef&, CopyId) override {}
  void Stop() override {}
};

class MoveServiceTest : public ShardFixture {};

// Splits and audits read whole chunks. A fenced chunk, which holds up its writers, must not wait for them.
TEST_F(MoveServiceTest, StepsDoNotWaitBehindWhatIsSlow) {
  Executor steps("steps", 1);
  Executor slow("slow", 1);
  Splitter splitter(&host_->core());
  LookedAt imports;
  std::promise<void> go_on;
  ASSERT_TRUE(slow.Post([done = go_on.get_future().share()] { done.wait(); }));
  StatisticsCollector statistics(&host_->core());
  auto move = MakeMoveService(&host_->core(), &splitter, &imports, &steps, &slow);
  auto admin = MakeAdminService(&host_->core(), &statistics, &steps, &slow);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {move.get(), admin.get()});
  ASSERT_TRUE(server.ok()) << server.status();
  rpc::ChannelPool pool;
  const auto channel = pool.Get((*server)->address());
  const auto moves = v1::ShardMove::NewStub(channel);
  const auto until = std::chrono::system_clock::now() + std::chrono::seconds(20);
  const auto ends = [&](auto&& call) {
    grpc::ClientContext context;
    context.set_deadline(until);
    const grpc::Status status = call(&context);
    EXPECT_TRUE(status.ok()) << status.error_message();
  };
  v1::ImportStatus import;
  ends([&](auto* context) { return moves->Import(context, v1::ImportStep(), &import); });
  v1::VerifyStatus verify;
  ends([&](auto* context) { return moves->Verify(context, v1::VerifyStep(), &verify); });
  v1::StepResponse complete;
  ends([&](auto* context) { return moves->Complete(context, v1::CompleteStep(), &complete); });
  v1::DescribeResponse described;
  ends([&](auto* context) {
    return v1::ShardAdmin::NewStub(channel)->Describe(context, v1::DescribeRequest(), &described);
  });
  go_on.set_value();
  (*server)->Shutdown(std::chrono::seconds(1));
}

// Somebody else's idea of the map is an answer, not the end of the process.
TEST_F(MoveServiceTest, APartOfAChunkIsNoChunkToSplit) {
  CreateWholeChunk();
  Executor steps("steps", 1);
  Executor slow("slow", 1);
  Splitter splitter(&host_->core());
  LookedAt imports;
  auto move = MakeMoveService(&host_->core(), &splitter, &imports, &steps, &slow);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {move.get()});
  ASSERT_TRUE(server.ok()) << server.status();
  rpc::ChannelPool pool;
  const auto moves = v1::ShardMove::NewStub(pool.Get((*server)->address()));
  v1::SplitChunkStep step;
  step.set_collection_id(kCollection.value());
  *step.mutable_range() = ToProto(KeyRange{"", KeyOf("m")});
  step.set_at(KeyOf("c"));
  v1::StepResponse answer;
  grpc::ClientContext context;
  const absl::Status status = rpc::FromGrpc(moves->SplitChunk(&context, step, &answer));
  EXPECT_EQ(rpc::ReasonOf(status), v1::ErrorDetail::NO_SUCH_CHUNK) << status;
  EXPECT_EQ(host_->applier().View()->OfCopy(kCopy).size(), 1u);
  (*server)->Shutdown(std::chrono::seconds(1));
}

// An OwnCopy in the log sends a replica that is still importing for a checkpoint. None comes there by a mistake.
TEST_F(MoveServiceTest, OwnBeforeKIsRefusedAndNotProposed) {
  Executor steps("steps", 1);
  Executor slow("slow", 1);
  Splitter splitter(&host_->core());
  LookedAt imports;
  auto move = MakeMoveService(&host_->core(), &splitter, &imports, &steps, &slow);
  auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {move.get()});
  ASSERT_TRUE(server.ok()) << server.status();
  rpc::ChannelPool pool;
  const auto moves = v1::ShardMove::NewStub(pool.Get((*server)->address()));
  const auto own = [&](const MoveRef& ref) {
    v1::OwnStep step;
    *step.mutable_entry() = Own(ref);
    v1::StepResponse answer;
    grpc::ClientContext context;
    return rpc::FromGrpc(moves->Own(&context, step, &answer));
  };
  v1::ShardEntry entry;
  *entry.mutable_prepare_copy() = Prepare();
  ASSERT_TRUE(Propose(entry).ok());
  const Position before = host_->store().AppliedPosition();
  EXPECT_EQ(own(kMove).code(), absl::StatusCode::kFailedPrecondition) << own(kMove);
  EXPECT_EQ(host_->store().AppliedPosition(), before);
  *entry.mutable_ingest_segment() = Segment(Position(110));
  ASSERT_TRUE(Propose(entry).ok());
  *entry.mutable_import_batch() = Batch(Position(100), Position(120));
  ASSERT_TRUE(Propose(entry).ok());
  *entry.mutable_complete() = Complete(Position(120));
  ASSERT_EQ(Propose(entry).outcome, Outcome::kApplied);
  // The end of the first attempt, should it come before this, would not have made it void.
  EXPECT_FALSE(own(kSecondAttempt).ok());
  EXPECT_TRUE(own(kMove).ok());
  EXPECT_TRUE(own(kMove).ok());
  EXPECT_EQ(host_->applier().View()->OfCopy(kTargetCopy).at(0)->state, ChunkState::kOwned);
  (*server)->Shutdown(std::chrono::seconds(1));
}

}  // namespace
}  // namespace terrane::shard
