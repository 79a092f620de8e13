// The tail with a source that answers what the test wants.
#include "shard/import_tail.h"

#include <gtest/gtest.h>

#include <deque>

#include "common/status.h"
#include "ownership_support.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

// The oplog of the source: what stands in it, and how far one answer goes.
class FakeSource : public ImportSource {
 public:
  absl::StatusOr<v1::OplogBatch> ReadOplog(const v1::ReadOplogRequest& request, bool) override {
    asked_.push_back(request.up_to());
    v1::OplogBatch batch;
    uint64_t end = applied;
    if (!answers_end_at.empty()) {
      end = answers_end_at.front();
      answers_end_at.pop_front();
    }
    if (request.up_to() != 0) end = std::min(end, request.up_to());
    for (const v1::PositionedEntry& entry : oplog.entries()) {
      if (entry.position() > request.after() && entry.position() <= end) *batch.add_entries() = entry;
    }
    batch.set_up_to(end);
    batch.set_applied(applied);
    return batch;
  }
  absl::Status ReadSegment(const v1::ReadSegmentRequest&,
                           const std::function<absl::Status(v1::SegmentBatch*)>&) override {
    return Unavailable("not here");
  }
  absl::Status HashRange(const v1::HashRangeRequest&,
                         const std::function<absl::Status(const v1::RangeDigest&)>&) override {
    return Unavailable("not here");
  }
  void Interrupt() override {}
  void Stop() override {}
  void SetEndpoints(std::vector<std::string>) override {}

  v1::OplogEntry* Add(uint64_t position) {
    v1::PositionedEntry* entry = oplog.add_entries();
    entry->set_position(position);
    return entry->mutable_entry();
  }
  void AddWrite(uint64_t position, const std::string& key) {
    v1::Change* change = Add(position)->add_changes();
    change->set_shard_key(key);
    change->set_id("id");
    change->set_document("d");
  }
  const std::vector<uint64_t>& asked() const { return asked_; }

  v1::OplogBatch oplog;
  uint64_t applied = 0;
  std::deque<uint64_t> answers_end_at;  // of the next answers; then: `applied`

 private:
  std::vector<uint64_t> asked_;
};

class ImportTailTest : public testing::Test {
 protected:
  ImportTailTest() {
    target_.ApplyPrepare(Prepare(), Position(1));
    target_.ApplyIngest(Segment(Position(110)), Position(2));
    host_.propose = [this](v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
      EntryResult result;
      if (entry.has_import_batch()) {
        const v1::ImportBatch& batch = entry.import_batch();
        result = target_.CheckImportBatch(batch);
        if (result.outcome == Outcome::kApplied) {
          for (const v1::Change& change : batch.changes()) applied_ += change.shard_key();
          target_.FinishImportBatch(batch);
        }
      } else {
        result = target_.ApplyComplete(entry.complete(), Position(9));
      }
      done(result);
    };
    tail_.Refresh(*target_.OfCopy(kTargetCopy)[0], kMove);
  }
  Position Cursor() { return target_.OfCopy(kTargetCopy)[0]->import->Cursor(); }

  Ownership target_;
  std::string applied_;  // keys, in the order of their application
  ImportHost host_;
  FakeSource source_;
  ImportTail tail_{&host_, &source_};
};

// The last batch had nothing for the range, nor has the next one: the end is F, and what stands before it.
TEST_F(ImportTailTest, T02_ABatchWithNothingIsNotTheEnd) {
  source_.AddWrite(150, "c");
  source_.Add(160)->mutable_fence();
  source_.applied = 170;
  source_.answers_end_at = {120, 140};
  ASSERT_TRUE(tail_.Poll(std::chrono::milliseconds(0)).ok());
  v1::CompleteStep step;
  *step.mutable_move() = ToProto(kMove);
  step.set_fence(160);
  step.set_token(kToken.value());
  const auto complete = tail_.Complete(step);
  ASSERT_TRUE(complete.ok()) << complete.status();
  EXPECT_EQ(applied_, "c");
  EXPECT_EQ(Cursor(), Position(160));
  EXPECT_EQ(StateOf(target_, kTargetCopy), ChunkState::kComplete);
}

// The step waited in the import's queue, and the next attempt began meanwhile: its K must not name the F of the old
// one, or the copy is complete for a fence that does not stand any more, and the move never ends.
TEST_F(ImportTailTest, T63_ALateStepOfAnEndedAttemptCompletesNothing) {
  source_.Add(160)->mutable_fence();
  source_.applied = 170;
  tail_.Refresh(*target_.OfCopy(kTargetCopy)[0], kSecondAttempt);
  v1::CompleteStep step;
  *step.mutable_move() = ToProto(kMove);
  step.set_fence(160);
  step.set_token(kToken.value());
  EXPECT_TRUE(absl::IsUnavailable(tail_.Complete(step).status()));
  EXPECT_EQ(StateOf(target_, kTargetCopy), ChunkState::kImporting);
}

// Verification compares at the source's position: the tail is there exactly, however far the source has gone on.
TEST_F(ImportTailTest, T30_StopsAtTheTimeThatIsAskedFor) {
  for (uint64_t position = 111; position <= 160; ++position) source_.AddWrite(position, position <= 130 ? "c" : "d");
  source_.applied = 160;
  source_.answers_end_at = {120};
  ASSERT_TRUE(tail_.To(Position(130)).ok());
  EXPECT_EQ(Cursor(), Position(130));
  EXPECT_EQ(applied_, std::string(20, 'c'));
  for (const uint64_t up_to : source_.asked()) EXPECT_EQ(up_to, 130u);
  // It does not go back.
  EXPECT_EQ(tail_.To(Position(129)).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(tail_.Poll(std::chrono::milliseconds(0)).ok());
  EXPECT_EQ(Cursor(), Position(160));
}

}  // namespace
}  // namespace terrane::shard
