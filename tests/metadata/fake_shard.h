// A shard that says yes: answers every step over gRPC as a healthy shard would, and remembers what it was asked.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "common/status.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::metadata {

class FakeShard : public v1::ShardMove::Service, public v1::ShardAdmin::Service {
 public:
  FakeShard() {
    auto server = rpc::Server::Start({.address = "127.0.0.1:0"}, {static_cast<v1::ShardMove::Service*>(this),
                                                                  static_cast<v1::ShardAdmin::Service*>(this)});
    if (server.ok()) server_ = *std::move(server);
  }
  ~FakeShard() override {
    Release();
    server_.reset();
  }
  const std::string& address() const { return server_->address(); }

  // Steps in the order in which they came: "Pin", "Fence" ...
  std::vector<std::string> calls() const {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  // How often it was asked to describe itself, which is no step.
  int described() const {
    std::lock_guard lock(mutex_);
    return described_;
  }
  int count(const std::string& name) const {
    int count = 0;
    for (const auto& call : calls()) count += call == name ? 1 : 0;
    return count;
  }
  // How long the last caller of this step was ready to wait, when it came. Known of SplitChunk.
  std::chrono::nanoseconds time_left(const std::string& name) const {
    std::lock_guard lock(mutex_);
    auto found = time_left_.find(name);
    return found == time_left_.end() ? std::chrono::nanoseconds(0) : found->second;
  }
  // The next calls of this step fail with the status; an OK status: no more.
  void Fail(const std::string& name, absl::Status status) {
    std::lock_guard lock(mutex_);
    failures_[name] = std::move(status);
  }

  // Whoever asks for this gets no answer before the release: "Audit", "Describe", or a step.
  void Hold(const std::string& name) {
    std::lock_guard lock(mutex_);
    held_.insert(name);
  }
  void Release() {
    std::lock_guard lock(mutex_);
    held_.clear();
    released_.notify_all();
  }

  grpc::Status CreateChunk(grpc::ServerContext*, const v1::CreateChunkStep* step, v1::StepResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      auto* chunk = description_.mutable_ownership()->add_chunks();
      chunk->set_collection_id(step->entry().collection_id());
      *chunk->mutable_range() = step->entry().range();
      chunk->set_copy_id(step->entry().copy_id());
      chunk->set_token(step->entry().token());
    }
    return Step("CreateChunk", response);
  }
  grpc::Status SplitChunk(grpc::ServerContext* context, const v1::SplitChunkStep* step,
                          v1::StepResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      time_left_["SplitChunk"] = context->deadline() - std::chrono::system_clock::now();
    }
    response->set_at(step->at().empty() ? step->range().min() + "m" : step->at());
    return Step("SplitChunk", response);
  }
  grpc::Status Pin(grpc::ServerContext*, const v1::PinStep*, v1::StepResponse* response) override {
    return Step("Pin", response);
  }
  grpc::Status Fence(grpc::ServerContext*, const v1::FenceStep*, v1::StepResponse* response) override {
    return Step("Fence", response);
  }
  grpc::Status FenceReads(grpc::ServerContext*, const v1::FenceReadsStep*, v1::StepResponse* response) override {
    return Step("FenceReads", response);
  }
  grpc::Status Release(grpc::ServerContext*, const v1::ReleaseStep*, v1::StepResponse* response) override {
    return Step("Release", response);
  }
  grpc::Status EndAttempt(grpc::ServerContext*, const v1::EndAttemptStep*, v1::StepResponse* response) override {
    return Step("EndAttempt", response);
  }
  grpc::Status DropCopy(grpc::ServerContext*, const v1::DropCopyStep* step, v1::StepResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      auto* chunks = description_.mutable_ownership()->mutable_chunks();
      for (int i = chunks->size() - 1; i >= 0; --i) {
        if (chunks->Get(i).copy_id() == step->entry().copy_id()) chunks->DeleteSubrange(i, 1);
      }
    }
    return Step("DropCopy", response);
  }
  grpc::Status Prepare(grpc::ServerContext*, const v1::PrepareStep* step, v1::StepResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      preparing_[step->entry().copy_id()] = step->entry();
    }
    return Step("Prepare", response);
  }
  grpc::Status Import(grpc::ServerContext*, const v1::ImportStep*, v1::ImportStatus* response) override {
    response->set_copied(true);
    response->set_source_applied(5);
    response->set_documents(100);
    response->set_bytes(1000);
    response->set_segments(1);
    response->set_apply_entries_per_s(10000);
    return Answer("Import");
  }
  grpc::Status Verify(grpc::ServerContext*, const v1::VerifyStep*, v1::VerifyStatus* response) override {
    response->set_done(true);
    response->set_equal(true);
    response->set_documents(100);
    return Answer("Verify");
  }
  grpc::Status Complete(grpc::ServerContext*, const v1::CompleteStep*, v1::StepResponse* response) override {
    return Step("Complete", response);
  }
  grpc::Status Own(grpc::ServerContext*, const v1::OwnStep* step, v1::StepResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      auto& prepared = preparing_[step->entry().copy_id()];
      auto* chunk = description_.mutable_ownership()->add_chunks();
      chunk->set_collection_id(prepared.collection_id());
      *chunk->mutable_range() = prepared.range();
      chunk->set_copy_id(step->entry().copy_id());
      chunk->set_token(step->entry().token());
    }
    return Step("Own", response);
  }
  grpc::Status Describe(grpc::ServerContext*, const v1::DescribeRequest*, v1::DescribeResponse* response) override {
    std::unique_lock lock(mutex_);
    ++described_;
    released_.wait(lock, [&] { return !held_.contains("Describe"); });
    *response = description_;
    response->set_leader(true);
    return grpc::Status::OK;
  }
  grpc::Status Audit(grpc::ServerContext*, const v1::AuditRequest*, v1::AuditResponse* response) override {
    {
      std::lock_guard lock(mutex_);
      *response = audit_;
    }
    return Answer("Audit");
  }

  grpc::Status StepDown(grpc::ServerContext*, const v1::ShardStepDownRequest*, v1::ShardStepDownResponse*) override {
    return Answer("StepDown");
  }
  grpc::Status ChangeReplica(grpc::ServerContext*, const v1::ChangeShardReplicaRequest*,
                             v1::ChangeShardReplicaResponse*) override {
    return Answer("ChangeReplica");
  }

  // What the others see of it; under the caller's care: the server may be asked meanwhile.
  template <typename Fn>
  void Change(Fn fn) {
    std::lock_guard lock(mutex_);
    fn(&description_, &audit_);
  }

 private:
  grpc::Status Answer(const std::string& name) {
    std::unique_lock lock(mutex_);
    calls_.push_back(name);
    released_.wait(lock, [&] { return !held_.contains(name); });
    auto failure = failures_.find(name);
    return failure == failures_.end() ? grpc::Status::OK : rpc::ToGrpc(failure->second);
  }
  grpc::Status Step(const std::string& name, v1::StepResponse* response) {
    response->set_position(++position_);
    response->mutable_digest()->mutable_documents()->set_count(100);
    return Answer(name);
  }

  mutable std::mutex mutex_;
  std::condition_variable released_;
  std::set<std::string> held_;
  std::vector<std::string> calls_;
  int described_ = 0;
  std::map<std::string, absl::Status> failures_;
  std::map<std::string, std::chrono::nanoseconds> time_left_;
  std::map<uint32_t, v1::PrepareCopy> preparing_;
  v1::DescribeResponse description_;
  v1::AuditResponse audit_;
  std::atomic<uint64_t> position_{0};
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace terrane::metadata
