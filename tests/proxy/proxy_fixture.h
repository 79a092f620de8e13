// A proxy over real gRPC, with a fake metadata service and two fake shards.
#pragma once

#include <gtest/gtest.h>

#include <future>

#include "common/status.h"
#include "document/builder.h"
#include "document/shard_key.h"
#include "fakes.h"
#include "proxy/server.h"
#include "rpc/channel.h"
#include "rpc/unary.h"
#include "support/await.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::proxy {

using namespace std::chrono_literals;
using document::Builder;
using testing::FakeMetadata;
using testing::FakeShard;
using testing::World;
using v1::ErrorDetail;

inline constexpr uint32_t kOrders = 1;

class ProxyServerTest : public ::testing::Test {
 protected:
  ProxyServerTest() {
    metadata_server_ = *rpc::Server::Start({}, {&metadata_});
    server_a_ = *rpc::Server::Start({}, {&a_});
    server_b_ = *rpc::Server::Start({}, {&b_});
    metadata_.AddShard("a", {server_a_->address()});
    metadata_.AddShard("b", {server_b_->address()});
    // Keys are _id in their order: strings below "m" are at a, the others at b.
    metadata_.AddCollection(kOrders, "shop.orders", Builder().Append("_id", 1).Finish());
    middle_ = IdKey("m");
    left_ = Route("", middle_, 10, 1, "a");
    right_ = Route(middle_, std::nullopt, 20, 1, "b");
    metadata_.SetChunk(left_);
    metadata_.SetChunk(right_);
    a_.owned.push_back({left_});
    b_.owned.push_back({right_});
    StartProxy({});
  }
  ~ProxyServerTest() override {
    a_.EndSilence();
    b_.EndSilence();
    proxy_.reset();
  }

  void StartProxy(ProxyServerOptions options) {
    proxy_.reset();
    options.metadata = {metadata_server_->address()};
    proxy_ = *ProxyServer::Start(options);
    channel_ = rpc::MakeChannel(proxy_->address());
    stub_ = v1::Documents::NewStub(channel_);
  }

  static std::string IdKey(const std::string& id) { return document::EncodeId(document::Value::String(id)); }
  static v1::Route Route(std::string min, std::optional<std::string> max, uint32_t copy, uint64_t token,
                         const std::string& shard) {
    v1::Route route;
    route.set_collection_id(kOrders);
    routing::ToProto({std::move(min), std::move(max)}, route.mutable_range());
    route.set_copy_id(copy);
    route.set_token(token);
    route.set_shard(shard);
    return route;
  }

  std::unique_ptr<grpc::ClientContext> Context(std::chrono::milliseconds deadline = 5s) {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + deadline);
    return context;
  }
  absl::Status Insert(const std::vector<std::string>& ids, v1::InsertResponse* response = nullptr) {
    v1::InsertRequest request;
    request.set_collection("shop.orders");
    for (const std::string& id : ids) request.add_documents(Builder().Append("_id", id).Append("n", 0).Finish());
    v1::InsertResponse ignored;
    return rpc::FromGrpc(stub_->Insert(Context().get(), request, response == nullptr ? &ignored : response));
  }
  v1::FindRequest FindRequest(const std::string& filter = "") {
    v1::FindRequest request;
    request.set_collection("shop.orders");
    request.set_filter(filter);
    return request;
  }
  // The _ids in the order in which they came.
  absl::StatusOr<std::string> Find(const v1::FindRequest& request, std::vector<std::string>* tokens = nullptr) {
    auto context = Context(30s);
    auto reader = stub_->Find(context.get(), request);
    v1::FindResponse response;
    std::string ids;
    while (reader->Read(&response)) {
      for (const std::string& document : response.documents()) ids += document::FindDirect(document, "_id")->AsString();
      if (tokens != nullptr) tokens->push_back(response.resume_token());
    }
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(reader->Finish()));
    return ids;
  }
  static v1::FindOneRequest FindOneRequest(const std::string& filter = "") {
    v1::FindOneRequest request;
    request.set_collection("shop.orders");
    request.set_filter(filter);
    return request;
  }
  // The _id; empty if nothing was found.
  absl::StatusOr<std::string> FindOne(const v1::FindOneRequest& request, std::string* token = nullptr) {
    v1::FindOneResponse response;
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(stub_->FindOne(Context(30s).get(), request, &response)));
    if (token != nullptr) *token = response.resume_token();
    return response.found() ? std::string(document::FindDirect(response.document(), "_id")->AsString()) : "";
  }
  absl::StatusOr<v1::UpdateResponse> Update(const std::string& filter, const std::string& update, bool multi = false,
                                            std::chrono::milliseconds deadline = 5s) {
    v1::UpdateRequest request;
    request.set_collection("shop.orders");
    request.set_filter(filter);
    request.set_update(update);
    request.set_multi(multi);
    v1::UpdateResponse response;
    TERRANE_RETURN_IF_ERROR(rpc::FromGrpc(stub_->Update(Context(deadline).get(), request, &response)));
    return response;
  }
  static std::string Id(const std::string& id) { return Builder().Append("_id", id).Finish(); }
  static std::string Inc() { return Builder().Append("$inc", Builder().Append("n", 1)).Finish(); }
  // An update that a has not answered when `other`, another replica of its shard, is announced as the leader.
  absl::StatusOr<v1::UpdateResponse> UpdateWhileTheOfficeChanges(FakeShard* other, std::chrono::milliseconds deadline) {
    auto server = *rpc::Server::Start({}, {other});
    metadata_.AddShard("a", {server_a_->address(), server->address()}, server_a_->address());
    EXPECT_TRUE(Insert({"a"}).ok());
    {
      std::lock_guard lock(world_.mutex);
      a_.silent = true;
      a_.requests = 0;
    }
    auto update = std::async(std::launch::async, [&] { return Update(Id("a"), Inc(), false, deadline); });
    EXPECT_TRUE(::terrane::testing::Await([&] {
      std::lock_guard lock(world_.mutex);
      return a_.requests > 0;
    }));
    metadata_.AnnounceLeader("a", server->address());
    return update.get();
  }
  // The left chunk is b's from now on, under copy 30.
  v1::Route MovedLeft() { return Route("", middle_, 30, 2, "b"); }
  void MoveLeft(bool source_knows) {
    std::lock_guard lock(world_.mutex);
    b_.owned.push_back({MovedLeft()});
    a_.owned[0].moved_to = source_knows ? MovedLeft() : v1::Route();
  }

  Executor executor_{"fakes", 8};
  World world_;
  FakeMetadata metadata_{&executor_};
  FakeShard a_{&world_, &executor_};
  FakeShard b_{&world_, &executor_};
  std::unique_ptr<rpc::Server> metadata_server_, server_a_, server_b_;
  std::string middle_;
  v1::Route left_, right_;
  std::unique_ptr<ProxyServer> proxy_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Documents::Stub> stub_;
};

}  // namespace terrane::proxy
