// Requests at a shard whose leadership changes, with a log that says what the test wants.
#include "fake_log.h"
#include "rpc/status.h"
#include "switch_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;
using Reason = v1::ErrorDetail;
using LeadershipTest = SwitchFixture;

TEST_F(LeadershipTest, T47_LeaderThatHasNotAppliedItsNoOpServesNothing) {
  FakeLog log;
  log.SetLeader(true, false, Term(9));
  host_->proposer().log()->Stop();
  host_->proposer().SetLog(&log);
  EXPECT_EQ(WriteReason(RouteTo()), Reason::NOT_LEADER);
  v1::ShardScanRequest scan;
  *scan.mutable_route() = RouteTo();
  v1::ShardScanResponse page;
  EXPECT_EQ(rpc::ReasonOf(Read(&ReadPath::Scan, scan, &page)), Reason::NOT_LEADER);
  v1::ShardEntry fence;
  *fence.mutable_fence() = Whole(Fence());
  EXPECT_EQ(rpc::ReasonOf(host_->proposer().ProposeAndWait(fence, std::chrono::seconds(1)).status()),
            Reason::NOT_LEADER);
  EXPECT_EQ(log.proposals(), 0u);
}

TEST_F(LeadershipTest, T48_ProposalBearsTheTermOfItsLatches) {
  FakeLog log;
  log.SetLeader(true, true, Term(9));
  host_->proposer().log()->Stop();
  host_->proposer().SetLog(&log);
  std::vector<absl::Status> answers(2);
  std::atomic<int> answered = 0;
  const auto request = InsertOf({R"({"_id":1,"k":"a"})"}, RouteTo());
  v1::ShardInsertResponse responses[2];
  const auto insert = [&](int i) {
    host_->writes().Insert({}, &request, &responses[i], [&, i](absl::Status status) {
      answers[i] = std::move(status);
      ++answered;
    });
  };
  insert(0);
  insert(1);  // waits for the latch
  ASSERT_EQ(log.proposals(), 1u);
  FakeLog::Proposal first = log.Take();
  EXPECT_EQ(first.term, Term(9));
  // Leadership is lost and comes back in another term; the outcome of the first is not known. And once more between
  // what the second one reads and its proposal.
  log.SetLeader(true, true, Term(11));
  log.ChangeTermAfter(1, Term(13));
  first.done({.outcome = replication::ProposeOutcome::kUnknown, .status = Aborted("lost"), .value = {}});
  while (log.proposals() == 0) std::this_thread::yield();
  FakeLog::Proposal second = log.Take();
  EXPECT_EQ(second.term, Term(11));
  EXPECT_EQ(log.Leader().term, Term(13));
  second.done({.outcome = replication::ProposeOutcome::kApplied, .status = absl::OkStatus(), .value = {}});
  while (answered < 2) std::this_thread::yield();
  EXPECT_EQ(rpc::ReasonOf(answers[0]), Reason::OUTCOME_UNKNOWN);
  EXPECT_TRUE(answers[1].ok());
}

TEST_F(LeadershipTest, T03_ReadWithoutALeaseLooksAtTheOwnershipAgain) {
  ASSERT_TRUE(Insert(R"({"_id": 1, "k": "a"})").ok());
  replication::ReplicatedLog* real = host_->proposer().log();
  FakeLog log;
  log.SetLeader(true, true, real->Leader().term);
  log.SetLease(false);
  // While the read asks the others, the read fence is applied.
  log.before_read_index = [&] {
    host_->proposer().SetLog(real);
    const EntryResult fence = Do(Fence());
    Do(FenceReads(fence.position));
    host_->proposer().SetLog(&log);
  };
  host_->proposer().SetLog(&log);
  EXPECT_NE(Get("a", 1), R"({"_id":1,"k":"a"})");
  host_->proposer().SetLog(real);
}

}  // namespace
}  // namespace terrane::shard
