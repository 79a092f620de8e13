#include "tools/importer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <sstream>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/value.h"

namespace terrane::tools {
namespace {

using testing::HasSubstr;

// A collection in memory; everything but Insert is refused.
class FakeClient : public client::Client {
 public:
  // From this many documents on every call fails.
  int64_t fail_at = INT64_MAX;

  absl::StatusOr<client::InsertResult> Insert(std::string_view, const std::vector<std::string>& documents,
                                              client::CallOptions) override {
    std::lock_guard lock(mutex_);
    if (static_cast<int64_t>(stored_.size()) >= fail_at) return NotFound("no collection");
    ++calls_;
    client::InsertResult result;
    for (size_t i = 0; i < documents.size(); ++i) {
      const int64_t id = document::FindDirect(documents[i], "_id")->ToInt64().value();
      if (stored_.emplace(id, documents[i]).second) {
        ++result.inserted;
      } else {
        result.errors.emplace_back().set_index(static_cast<int>(i));
        result.errors.back().set_message("_id is there already");
      }
    }
    return result;
  }
  size_t stored() const { return stored_.size(); }
  int calls() const { return calls_; }

  std::unique_ptr<client::Cursor> Find(std::string_view, client::FindOptions) override { return nullptr; }
  absl::StatusOr<std::optional<std::string>> FindOne(std::string_view, std::string_view, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<client::UpdateResult> Update(std::string_view, std::string_view, std::string_view,
                                              UpdateOptions) override {
    return Refused();
  }
  absl::StatusOr<client::UpdateResult> Replace(std::string_view, std::string_view, std::string_view, bool,
                                               client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<int64_t> Delete(std::string_view, std::string_view, bool, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<int64_t> Count(std::string_view, std::string_view, client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::CreateCollectionResponse> CreateCollection(v1::CreateCollectionRequest,
                                                                client::CallOptions) override {
    return Refused();
  }
  absl::Status DropCollection(std::string_view, client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::ListCollectionsResponse> ListCollections(client::CallOptions) override { return Refused(); }
  int64_t Retries() const override { return 0; }
  absl::StatusOr<v1::StatusResponse> Status(client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::ListChunksResponse> ListChunks(std::string_view, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<v1::SplitChunkResponse> SplitChunk(v1::SplitChunkRequest, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<v1::MoveChunkResponse> MoveChunk(v1::MoveChunkRequest, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<v1::ListMigrationsResponse> ListMigrations(bool, client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::ShowMigrationResponse> ShowMigration(uint64_t, client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::AbortMigrationResponse> AbortMigration(uint64_t, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<v1::ListShardsResponse> ListShards(client::CallOptions) override { return Refused(); }
  absl::StatusOr<v1::ChangeReplicaResponse> ChangeReplica(const v1::ChangeReplicaRequest&,
                                                          client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<v1::StepDownResponse> StepDown(const v1::StepDownRequest&, client::CallOptions) override {
    return Refused();
  }
  absl::StatusOr<int64_t> Check(v1::CheckRequest, const std::function<void(const v1::CheckEvent&)>&,
                                client::CallOptions) override {
    return Refused();
  }

 private:
  static absl::Status Refused() { return Internal("not part of this test"); }
  std::mutex mutex_;
  std::map<int64_t, std::string> stored_;
  int calls_ = 0;
};

struct Outcome {
  absl::Status status;
  ImportProgress last;
  std::map<int64_t, std::string> refused;  // number -> why
};

Outcome RunImport(FakeClient& client, const std::string& text, ImportOptions options = {}) {
  std::istringstream in(text);
  const auto reader = DocumentReader::Make(FileFormat::kNdjson, in);
  Outcome outcome;
  outcome.status = Import(
      client, *reader, options, [](const ImportProgress&) {},
      [&](const RefusedDocument& document) { outcome.refused[document.number] = document.why; }, &outcome.last);
  return outcome;
}

std::string Lines(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += "{\"_id\": " + std::to_string(i) + "}\n";
  return text;
}

TEST(ImporterTest, EverythingIsInOnceInBatches) {
  FakeClient client;
  const Outcome outcome = RunImport(client, Lines(0, 2345));
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_EQ(client.stored(), 2345u);
  EXPECT_EQ(outcome.last.documents, 2345);
  EXPECT_EQ(outcome.last.bytes_in, 2345 * 14);
  EXPECT_EQ(client.calls(), 5);
}

TEST(ImporterTest, BatchesAreBoundedInBytesToo) {
  FakeClient client;
  ImportOptions options;
  options.batch_bytes = 14 * 10;
  EXPECT_TRUE(RunImport(client, Lines(0, 95), options).status.ok());
  EXPECT_EQ(client.calls(), 10);
}

TEST(ImporterTest, RefusedDocumentsAreNamedByLineAndTheRestIsIn) {
  FakeClient client;
  const Outcome outcome = RunImport(client, Lines(0, 3) + "{\"_id\": NaN}\n" + Lines(1, 2) + Lines(3, 5));
  EXPECT_TRUE(outcome.status.ok());
  EXPECT_EQ(client.stored(), 5u);
  EXPECT_EQ(outcome.last.refused, 2);
  EXPECT_THAT(outcome.refused.at(4), HasSubstr("not JSON"));
  EXPECT_EQ(outcome.refused.at(5), "_id is there already");
}

TEST(ImporterTest, AFailedCallEndsTheImportAndWhatIsInIsCounted) {
  FakeClient client;
  client.fail_at = 1000;
  ImportOptions options;
  options.workers = 1;
  const Outcome outcome = RunImport(client, Lines(0, 100'000), options);
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(outcome.last.documents, 1000);
  EXPECT_EQ(client.stored(), 1000u);
}

TEST(ImporterTest, AnInterruptEndsItBehindWhatIsUnderWay) {
  FakeClient client;
  ImportOptions options;
  options.batch_documents = 10;
  int asked = 0;
  options.interrupted = [&] { return ++asked > 105; };
  const Outcome outcome = RunImport(client, Lines(0, 1000), options);
  EXPECT_TRUE(absl::IsCancelled(outcome.status)) << outcome.status;
  EXPECT_EQ(outcome.last.documents, 100) << "the batch that was not full was not sent";
  EXPECT_EQ(client.stored(), 100u);
}

TEST(ImporterTest, NothingToDo) {
  FakeClient client;
  EXPECT_TRUE(RunImport(client, "\n\n").status.ok());
  EXPECT_EQ(client.calls(), 0);
}

}  // namespace
}  // namespace terrane::tools
