// A shard's directory as the first program with a format wrote it; and one of a newer format.
#include <gmock/gmock.h>

#include <fstream>
#include <future>

#include "common/process.h"
#include "document/builder.h"
#include "document/extended_json.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "replication/file_system.h"
#include "replication/sealed_lines.h"
#include "shard/shard_host.h"
#include "shard/state_records.h"
#include "support/await.h"
#include "support/format_fixture.h"

namespace terrane::shard {
namespace {

namespace fs = std::filesystem;
namespace v1 = terrane::v1;
using ::testing::AllOf;
using ::testing::HasSubstr;

class ShardFormatTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto unpacked = testing::UnpackFormatFixture();
    ASSERT_TRUE(unpacked.ok()) << unpacked.status();
    directory_ = *std::move(unpacked);
    // "format=1 cluster=4f0c.."
    std::string format;
    std::ifstream(directory_ / "cluster") >> format >> cluster_;
    ASSERT_TRUE(cluster_.starts_with("cluster="));
    cluster_ = cluster_.substr(8);
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path Store(const std::string& shard) const { return directory_ / (shard + "-a") / "data" / "store"; }
  fs::path Raft(const std::string& shard) const { return directory_ / (shard + "-a") / "data" / "raft"; }
  absl::StatusOr<std::unique_ptr<ShardHost>> Open(const std::string& shard) {
    ShardHost::Options options;
    options.shard = shard;
    options.store.directory = Store(shard);
    options.store.create = false;
    TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<ShardHost> host, ShardHost::Open(std::move(options)));
    replication::ReplicatedLog::Options log;
    log.directory = Raft(shard);
    log.identity = {.cluster = cluster_, .group = shard, .replica = ReplicaId(1)};
    log.members = {{ReplicaId(1), "127.0.0.1:1"}};
    TERRANE_RETURN_IF_ERROR(host->OpenLog(std::move(log)));
    testing::Await([&] { return host->proposer().ServingTerm().ok(); });
    return host;
  }
  static v1::RetryId Retry(int statement) {
    v1::RetryId retry;
    retry.set_session(testing::kFixtureSession);
    retry.set_statement(statement);
    return retry;
  }

  fs::path directory_;
  std::string cluster_;
};

TEST_F(ShardFormatTest, DigestsAndRetryRecordsOfFormat1AreUnderstood) {
  std::map<int, int> found;  // how many owned records there are, by statement
  int repeated = 0;
  std::set<ChunkState> states;
  for (const char* name : {"s1", "s2"}) {
    auto host = Open(name);
    ASSERT_TRUE(host.ok()) << host.status();
    const auto ownership = LoadOwnership(*(*host)->store().View());
    ASSERT_TRUE(ownership.ok()) << ownership.status();
    for (const OwnedChunk* chunk : ownership->All()) {
      states.insert(chunk->state);
      auto view = (*host)->store().View(chunk->copy);
      ASSERT_TRUE(view.ok()) << view.status();
      const auto scanned = storage::ScanDigest(**view, chunk->copy, chunk->range);
      ASSERT_TRUE(scanned.ok()) << scanned.status();
      EXPECT_EQ(scanned->ToString(), chunk->digest.ToString()) << name << " copy " << chunk->copy.value();
      if (chunk->state != ChunkState::kOwned || chunk->collection_name != testing::kOrdersCollection) continue;
      for (int statement = 0; statement <= testing::kFixtureDelete; ++statement) {
        const auto records = (*view)->FindRetry(std::span(&chunk->copy, 1), testing::kFixtureSession, statement);
        ASSERT_TRUE(records.ok()) << records.status();
        for (const storage::FoundRetry& record : *records) found[statement] += chunk->range.Contains(record.shard_key);
      }

      // The statement once more.
      std::string key;
      document::AppendKey(document::Value::String("k-1005"), &key);
      if (!chunk->range.Contains(key)) continue;
      v1::ShardModifyRequest update;
      update.mutable_route()->set_collection_id(chunk->collection.value());
      update.mutable_route()->mutable_range()->set_min(chunk->range.min);
      if (chunk->range.max) update.mutable_route()->mutable_range()->set_max(*chunk->range.max);
      update.mutable_route()->set_copy_id(chunk->copy.value());
      update.mutable_route()->set_token(chunk->token.value());
      update.mutable_key()->set_shard_key(key);
      update.mutable_key()->set_id(document::EncodeId(document::Value::String("retry-0")));
      update.set_update(*document::DocumentFromJson(R"({"$inc": {"n": 1}})", document::JsonMode::kQuery));
      *update.mutable_retry() = Retry(testing::kFixtureUpdate);
      v1::ShardModifyResponse response;
      std::promise<absl::Status> done;
      (*host)->writes().Modify({}, &update, &response, [&](absl::Status status) { done.set_value(std::move(status)); });
      const absl::Status status = done.get_future().get();
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(response.repeated());
      EXPECT_EQ(response.modified(), 1);
      repeated += response.repeated();
    }
  }
  EXPECT_EQ(repeated, 1);
  for (int statement = 0; statement <= testing::kFixtureDelete; ++statement)
    EXPECT_EQ(found[statement], 1) << statement;
  // The move that is under way.
  EXPECT_TRUE(states.contains(ChunkState::kOwned));
  EXPECT_TRUE(states.contains(ChunkState::kImporting));
}

TEST_F(ShardFormatTest, AnIdentityOfANewerFormatIsRefusedByName) {
  const fs::path path = Raft("s1") / "identity";
  std::string text = ReadWholeFile(path).value();
  ASSERT_TRUE(text.starts_with("format 1\n"));
  const auto lines = replication::UnsealLines(text, path);
  ASSERT_TRUE(lines.ok()) << lines.status();
  std::string newer;
  for (const auto& [name, value] : *lines) StrAppend(&newer, name, " ", name == "format" ? "2" : value, "\n");
  std::ofstream(path, std::ios::trunc) << replication::SealLines(newer);
  const absl::Status refused = Open("s1").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr(Raft("s1").string()), HasSubstr("format 2"), HasSubstr("newer")));
}

}  // namespace
}  // namespace terrane::shard
