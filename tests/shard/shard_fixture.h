// A real shard of one replica in a directory of its own: store, log, applier, paths; without gRPC.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/status.h"
#include "document/builder.h"
#include "document/extended_json.h"
#include "document/key_encoding.h"
#include "document/shard_key.h"
#include "gtest/gtest.h"
#include "ownership_support.h"
#include "shard/admin_service.h"
#include "shard/shard_host.h"
#include "shard/state_records.h"
#include "storage/fault_injection.h"
#include "support/temp_directory.h"

namespace terrane::shard {

// Documents have {_id, k, ...}; the shard key is k, so its encoding is that of the string.
class ShardFixture : public ::testing::Test {
 protected:
  static constexpr CopyId kCopy{10};

  void SetUp() override { Open(); }
  void TearDown() override { host_.reset(); }

  void Open() {
    ShardHost::Options options;
    options.shard = "s1";
    options.store.directory = directory_ / "data";
    options.store.faults = faults_;
    options.retry_lifetime = retry_lifetime_;
    options.clock = clock_;
    if (drop_pause_) {  // after few keys
      options.store.drop_pause = *drop_pause_;
      options.store.drop_batch_keys = 3;
    }
    if (disk_usage_) options.store.disk_usage = disk_usage_;
    auto host = ShardHost::Open(std::move(options));
    ASSERT_TRUE(host.ok()) << host.status();
    host_ = *std::move(host);
    replication::ReplicatedLog::Options log;
    log.directory = directory_ / "raft";
    log.identity = {.cluster = "test", .group = "s1", .replica = ReplicaId(1)};
    log.members = {{ReplicaId(1), "127.0.0.1:1"}};
    const absl::Status opened = host_->OpenLog(std::move(log));
    ASSERT_TRUE(opened.ok()) << opened;
    while (!host_->proposer().ServingTerm().ok()) std::this_thread::yield();
  }
  void Restart() {
    host_.reset();
    Open();
  }

  EntryResult Propose(terrane::v1::ShardEntry entry) {
    auto result = host_->proposer().ProposeAndWait(std::move(entry), std::chrono::seconds(10));
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : EntryResult{.outcome = Outcome::kConflict};
  }
  void CreateWholeChunk(CopyId copy = kCopy) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_create_chunk() = Create({"", std::nullopt}, copy);
    entry.mutable_create_chunk()->set_shard_key(document::Builder().Append("k", 1).Finish());
    EXPECT_EQ(Propose(std::move(entry)).outcome, Outcome::kApplied);
  }

  static terrane::v1::Route RouteTo(CopyId copy = kCopy, Token token = kToken) {
    terrane::v1::Route route;
    route.set_collection_id(kCollection.value());
    *route.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    route.set_copy_id(copy.value());
    route.set_token(token.value());
    return route;
  }
  static std::string Json(std::string_view text) {
    auto bson = document::DocumentFromJson(text, document::JsonMode::kQuery);
    EXPECT_TRUE(bson.ok()) << bson.status() << " in " << text;
    return bson.ok() ? *bson : std::string();
  }
  // Without spaces.
  static std::string ToJson(std::string_view bson) {
    std::string json = document::ToRelaxedJson(bson);
    std::erase(json, ' ');
    return json;
  }
  static std::string KeyOf(std::string_view k) {
    std::string key;
    document::AppendKey(document::Value::String(k), &key);
    return key;
  }
  static std::string IdOf(int64_t id) { return document::EncodeId(document::Value::Int64(id)); }

  template <typename Request, typename Response>
  absl::Status Write(void (WritePath::*method)(CallState, const Request*, Response*, DoneCallback),
                     const Request& request, Response* response, CallState call = {}) {
    // Shared: set_value may still be under way when the answer is here.
    auto promise = std::make_shared<std::promise<absl::Status>>();
    (host_->writes().*method)(std::move(call), &request, response,
                              [promise](absl::Status status) { promise->set_value(std::move(status)); });
    return promise->get_future().get();
  }
  template <typename Request, typename Response>
  absl::Status Read(void (ReadPath::*method)(const CallState&, const Request*, Response*, DoneCallback),
                    const Request& request, Response* response, CallState call = {}) {
    // Shared: set_value may still be under way when the answer is here.
    auto promise = std::make_shared<std::promise<absl::Status>>();
    (host_->reads().*method)(call, &request, response,
                             [promise](absl::Status status) { promise->set_value(std::move(status)); });
    return promise->get_future().get();
  }

  static void AddDocument(std::string_view json, terrane::v1::ShardInsertRequest* request) {
    const std::string bson = Json(json);
    terrane::v1::Change* change = request->add_documents();
    std::string key;
    document::AppendKey(*document::FindDirect(bson, "k"), &key);
    change->set_shard_key(key);
    change->set_id(*document::EncodeIdFromDocument(bson));
    change->set_document(bson);
  }
  terrane::v1::ShardInsertRequest InsertOf(std::vector<std::string> documents, const terrane::v1::Route& route) {
    terrane::v1::ShardInsertRequest request;
    *request.mutable_route() = route;
    for (const std::string& json : documents) AddDocument(json, &request);
    return request;
  }
  absl::Status Insert(const terrane::v1::ShardInsertRequest& request, terrane::v1::ShardInsertResponse* response) {
    return Write(&WritePath::Insert, request, response);
  }
  absl::Status Insert(std::string json, const terrane::v1::Route& route = RouteTo()) {
    terrane::v1::ShardInsertResponse response;
    absl::Status status = Insert(InsertOf({std::move(json)}, route), &response);
    if (status.ok() && response.outcomes(0).code() != 0) {
      return {static_cast<absl::StatusCode>(response.outcomes(0).code()), response.outcomes(0).message()};
    }
    return status;
  }
  static terrane::v1::ShardModifyRequest ModifyOf(std::string_view k, int64_t id, std::string_view update,
                                                  const terrane::v1::Route& route = RouteTo()) {
    terrane::v1::ShardModifyRequest request;
    *request.mutable_route() = route;
    request.mutable_key()->set_shard_key(KeyOf(k));
    request.mutable_key()->set_id(IdOf(id));
    if (update.empty()) {
      request.set_kind(terrane::v1::ShardModifyRequest::DELETE);
    } else {
      request.set_update(Json(update));
    }
    return request;
  }
  absl::StatusOr<terrane::v1::ShardModifyResponse> Modify(const terrane::v1::ShardModifyRequest& request,
                                                          CallState call = {}) {
    terrane::v1::ShardModifyResponse response;
    absl::Status status = Write(&WritePath::Modify, request, &response, std::move(call));
    if (!status.ok()) return status;
    return response;
  }
  // "" if there is none; the error's text if it cannot be read.
  std::string Get(std::string_view k, int64_t id, const terrane::v1::Route& route = RouteTo()) {
    terrane::v1::ShardGetRequest request;
    *request.mutable_route() = route;
    request.mutable_key()->set_shard_key(KeyOf(k));
    request.mutable_key()->set_id(IdOf(id));
    terrane::v1::ShardGetResponse response;
    absl::Status status = Read(&ReadPath::Get, request, &response);
    if (!status.ok()) return std::string(MessageOf(status));
    return response.found() ? ToJson(response.document()) : "";
  }
  // That what is on disk is what the running digest says.
  void ExpectSoundCopy(CopyId copy = kCopy) {
    auto view = host_->store().View(copy);
    ASSERT_TRUE(view.ok());
    auto ownership = LoadOwnership(**view);
    ASSERT_TRUE(ownership.ok()) << ownership.status();
    for (const OwnedChunk* chunk : ownership->OfCopy(copy)) {
      auto scanned = storage::ScanDigest(**view, copy, chunk->range);
      ASSERT_TRUE(scanned.ok());
      EXPECT_EQ(*scanned, chunk->digest) << scanned->ToString() << " against " << chunk->digest.ToString();
    }
  }

  TempDirectory directory_{"shard"};
  std::shared_ptr<storage::FaultInjection> faults_;
  std::function<storage::DiskUsage()> disk_usage_;
  std::optional<std::chrono::milliseconds> drop_pause_;
  Clock* clock_ = Clock::System();
  std::chrono::milliseconds retry_lifetime_{std::chrono::minutes(30)};
  std::unique_ptr<ShardHost> host_;
};

}  // namespace terrane::shard
