// Source and target are made to differ below the API, in the files of a stopped shard, before they are compared: it is
// found, named in `migration show`, mended or refused, and the source serves on (traps T29, T33).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/escaping.h"
#include "common/status.h"
#include "document/builder.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "support/await.h"
#include "support/mini_cluster.h"
#include "support/settings.h"

namespace terrane::testing {
namespace {

using terrane::v1::Migration;
using ::testing::HasSubstr;

constexpr const char* kItems = "shop.items";
constexpr int kDocuments = 400;

std::string Document(int64_t n) {
  return document::Builder().Append("_id", n).Append("v", int64_t{7}).Finish();
}

class VerificationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = MiniCluster::Start({.shards = 2});
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
    terrane::v1::CreateCollectionRequest create;
    create.set_name(kItems);
    create.set_chunks(1);
    const auto created = client().CreateCollection(create);
    ASSERT_TRUE(created.ok()) << created.status();
    std::vector<std::string> documents;
    for (int64_t n = 0; n < kDocuments; ++n) documents.push_back(Document(n));
    const auto inserted = client().Insert(kItems, documents);
    ASSERT_TRUE(inserted.ok()) << inserted.status();
    ASSERT_EQ(inserted->inserted, kDocuments);
  }
  client::Client& client() { return cluster_->client(); }
  std::string proxy() const { return cluster_->processes().ProxyEndpoints().front(); }

  Migration Record() {
    const auto shown = client().ShowMigration(id_);
    return shown.ok() ? shown->migration() : Migration();
  }
  // To the other shard.
  void Move() {
    const auto chunks = client().ListChunks(kItems);
    ASSERT_TRUE(chunks.ok()) << chunks.status();
    ASSERT_EQ(chunks->chunks_size(), 1);
    terrane::v1::MoveChunkRequest request;
    request.set_collection(kItems);
    request.set_key(chunks->chunks(0).chunk().range().min());
    request.set_target(chunks->chunks(0).chunk().shard() == "s1" ? "s2" : "s1");
    const auto registered = client().MoveChunk(request);
    ASSERT_TRUE(registered.ok()) << registered.status();
    id_ = registered->migration().id();
  }
  // Moves the chunk up to the stage before the comparison and holds it there.
  void MoveUpToCatchingUp() {
    ASSERT_TRUE(test::SetSetting(proxy(), "test.pause_at", "catching_up").ok());
    ASSERT_NO_FATAL_FAILURE(Move());
    ASSERT_TRUE(Await([&] { return Record().stage() == Migration::CATCHING_UP; }));
  }
  // Spoils document 17 in the files of `process`.
  void Spoil(const std::string& process, uint32_t copy, const std::string& how) {
    const auto info = cluster_->processes().Process(process);
    ASSERT_TRUE(info.ok()) << info.status();
    ASSERT_TRUE(cluster_->processes().StopProcess(process).ok());
    const auto pattern = document::ShardKeyPattern::Parse(document::Builder().Append("_id", "hashed").Finish());
    const std::string plant = std::filesystem::path(TERRANE_BINARY_DIR) / "bin/terrane-plant";
    const std::string command = StrCat(plant, " ", how, " ", (info->directory / "data/store").string(), " ", copy, " ",
                                       absl::BytesToHexString(*pattern->EncodeFromDocument(Document(17))), " ",
                                       absl::BytesToHexString(*document::EncodeIdFromDocument(Document(17))));
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
    const absl::Status started = cluster_->processes().StartProcess(process);
    ASSERT_TRUE(started.ok()) << started;
  }
  void LetGo() {
    ASSERT_TRUE(test::SetSetting(proxy(), "test.pause_at", "").ok());
    ASSERT_TRUE(Await([&] {
      const Migration::Stage stage = Record().stage();
      return stage == Migration::DONE || stage == Migration::ABORTED;
    }));
  }
  int64_t Findings() {
    const auto findings = client().Check({}, [](const terrane::v1::CheckEvent&) {});
    EXPECT_TRUE(findings.ok()) << findings.status();
    return findings.value_or(-1);
  }

  std::unique_ptr<MiniCluster> cluster_;
  uint64_t id_ = 0;
};

TEST_F(VerificationTest, T33_ADamagedTargetIsNamedAndMended) {
  for (const std::string how : {"lost", "stale"}) {
    SCOPED_TRACE(how);
    ASSERT_NO_FATAL_FAILURE(MoveUpToCatchingUp());
    ASSERT_NO_FATAL_FAILURE(Spoil(Record().target() + "-a", Record().target_copy(), how));
    ASSERT_NO_FATAL_FAILURE(LetGo());
    EXPECT_EQ(Record().stage(), Migration::DONE) << Record().reason();
    EXPECT_GE(Record().figures().repaired_ranges(), 1);
    EXPECT_THAT(cluster_->Terrane({"migration", "show", StrCat(id_)}).out,
                HasSubstr("1 range differed on the target and was copied again"));
    EXPECT_EQ(Findings(), 0);
    const auto found = client().FindOne(kItems, document::Builder().Append("_id", int64_t{17}).Finish());
    ASSERT_TRUE(found.ok() && *found) << found.status();
    EXPECT_EQ(**found, Document(17));
  }
}

TEST_F(VerificationTest, T33_ADamagedSourceIsNamedAndServesOn) {
  ASSERT_NO_FATAL_FAILURE(MoveUpToCatchingUp());
  ASSERT_NO_FATAL_FAILURE(Spoil(Record().source() + "-a", Record().source_copy(), "stale"));
  ASSERT_NO_FATAL_FAILURE(LetGo());
  EXPECT_EQ(Record().stage(), Migration::ABORTED);
  const std::string shown = cluster_->Terrane({"migration", "show", StrCat(id_)}).out;
  EXPECT_THAT(shown, HasSubstr("source"));
  EXPECT_THAT(shown, HasSubstr(Record().source() + " owns the chunk as before"));
  // The source serves on, and `check` names what is wrong there.
  const auto updated = client().Update(kItems, document::Builder().Append("_id", int64_t{18}).Finish(),
                                       document::Builder().Append("$inc", document::Builder().Append("v", 1)).Finish());
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->modified, 1);
  EXPECT_EQ(*client().Count(kItems), kDocuments);
  EXPECT_GE(Findings(), 1);
}

}  // namespace
}  // namespace terrane::testing
