// The state machine by itself: entries that it cannot take.
#include "shard/applier.h"

#include <gtest/gtest.h>

#include "shard_fixture.h"

namespace terrane::shard {
namespace {

namespace v1 = terrane::v1;

class ApplierTest : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
    host_->proposer().log()->Stop();  // this test is the apply thread now
  }
  absl::Status Apply(const std::string& data) {
    const Position next(host_->store().AppliedPosition().value() + 1);
    const replication::CommittedEntry entry{.position = next, .term = Term(1), .data = data};
    replication::ApplyResult result;
    return host_->applier().Apply({&entry, 1}, {&result, 1});
  }
};

// The log is compared with its checksums, so such an entry stands on every replica of the group: if it were taken for
// damage, each of them would set its data aside to get it from another one (rejoin.h).
TEST_F(ApplierTest, AnEntryOfANewerVersionIsNoDamage) {
  std::string unknown = "\x08\x05";       // hybrid_time
  unknown += "\xfa\xff\x03\x02\x08\x01";  // field 8191, a message
  const Position before = host_->store().AppliedPosition();
  absl::Status status = Apply(unknown);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(absl::IsFailedPrecondition(Apply("\xff"))) << "not an entry at all";

  v1::ShardEntry write;
  write.mutable_write()->set_collection_id(kCollection.value());
  write.mutable_write()->set_copy_id(kCopy.value());
  write.mutable_write()->set_token(kToken.value());
  v1::Change* change = write.mutable_write()->add_changes();
  change->set_shard_key(KeyOf("a"));
  change->set_id(IdOf(1));
  change->set_retry("\xff");
  status = Apply(write.SerializeAsString());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(host_->store().AppliedPosition(), before);
}

}  // namespace
}  // namespace terrane::shard
