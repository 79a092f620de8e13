// A metadata service and shards that keep everything in memory and do what a test tells them, as real gRPC servers on
// loopback. All shards share one world of documents, so that a chunk moves by a change of ownership alone.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/executor.h"
#include "document/filter.h"
#include "document/update.h"
#include "routing/range_proto.h"
#include "routing/resume_key.h"
#include "rpc/server.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "terrane/v1/metadata.grpc.pb.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::proxy::testing {

using Key = std::pair<std::string, std::string>;  // encoded shard key and _id

struct World {
  std::mutex mutex;
  std::map<Key, std::string> documents;
  std::map<std::pair<std::string, int64_t>, v1::ShardModifyResponse> modified;  // by session and statement
  std::map<std::pair<std::string, int64_t>, Key> inserted;
  int effects = 0;
};

class FakeMetadata final : public v1::Metadata::CallbackService {
 public:
  explicit FakeMetadata(Executor* executor) : executor_(executor) {}

  grpc::ServerWriteReactor<v1::WatchEvent>* Watch(grpc::CallbackServerContext* context,
                                                  const v1::WatchRequest*) override {
    return rpc::RunStream<v1::WatchEvent>(context, executor_, [this](auto stream) {
      {
        std::lock_guard lock(mutex_);
        stream->TryWrite(Snapshot());
        streams_.insert(stream);
      }
      // Without the lock: of a stream that is cancelled already it is called right here.
      stream->OnCancel([this, stream] {
        {
          std::lock_guard lock(mutex_);
          streams_.erase(stream);
        }
        stream->Finish(absl::CancelledError());
      });
    });
  }
  grpc::ServerUnaryReactor* GetRoutes(grpc::CallbackServerContext* context, const v1::GetRoutesRequest*,
                                      v1::WatchEvent* response) override {
    return rpc::RunBlocking(context, executor_, [this, response](const rpc::Call&) {
      std::lock_guard lock(mutex_);
      ++refreshes;
      *response = Snapshot();
      return absl::OkStatus();
    });
  }

  // Each raises the revision; `tell`: the streams hear of it.
  void AddShard(const std::string& name, const std::vector<std::string>& endpoints, const std::string& leader = "") {
    std::lock_guard lock(mutex_);
    v1::Shard& shard = shards_[name];
    shard.set_name(name);
    shard.clear_replicas();
    for (const std::string& endpoint : endpoints) shard.add_replicas()->set_endpoint(endpoint);
    shard.set_leader_endpoint(leader);
    v1::WatchEvent event;
    *event.add_shards() = shard;
    Tell(std::move(event), true);
  }
  // A leader belongs to no revision.
  void AnnounceLeader(const std::string& name, const std::string& leader) {
    std::lock_guard lock(mutex_);
    shards_[name].set_leader_endpoint(leader);
    v1::WatchEvent event;
    *event.add_shards() = shards_[name];
    event.set_revision(revision_);
    for (const auto& stream : streams_) stream->TryWrite(event);
  }
  void AddCollection(uint32_t id, const std::string& name, const std::string& shard_key = "", bool tell = true) {
    std::lock_guard lock(mutex_);
    v1::Collection& collection = collections_[id];
    collection.set_id(id);
    collection.set_name(name);
    collection.set_shard_key(shard_key);
    collection.set_state(v1::Collection::READY);
    v1::WatchEvent event;
    *event.add_collections() = collection;
    Tell(std::move(event), tell);
  }
  void SetChunk(const v1::Route& route, bool tell = true) {
    std::lock_guard lock(mutex_);
    v1::Chunk chunk;
    chunk.set_collection_id(route.collection_id());
    *chunk.mutable_range() = route.range();
    chunk.set_copy_id(route.copy_id());
    chunk.set_token(route.token());
    chunk.set_shard(route.shard());
    chunks_[{route.collection_id(), route.range().min()}] = chunk;
    v1::WatchEvent event;
    *event.add_chunks() = chunk;
    Tell(std::move(event), tell);
  }
  std::atomic<int> refreshes = 0;

 private:
  v1::WatchEvent Snapshot() {
    v1::WatchEvent event;
    event.set_revision(revision_);
    event.set_snapshot(true);
    for (auto& [id, collection] : collections_) *event.add_collections() = collection;
    for (auto& [key, chunk] : chunks_) *event.add_chunks() = chunk;
    for (auto& [name, shard] : shards_) *event.add_shards() = shard;
    return event;
  }
  void Tell(v1::WatchEvent event, bool tell) {
    event.set_revision(++revision_);
    if (!tell) return;
    for (const auto& stream : streams_) stream->TryWrite(event);
  }

  Executor* const executor_;
  std::mutex mutex_;
  uint64_t revision_ = 1;
  std::map<uint32_t, v1::Collection> collections_;
  std::map<std::pair<uint32_t, std::string>, v1::Chunk> chunks_;
  std::map<std::string, v1::Shard> shards_;
  std::set<std::shared_ptr<rpc::ServerStream<v1::WatchEvent>>> streams_;
};

class FakeShard final : public v1::ShardDocuments::CallbackService {
 public:
  struct Owned {
    v1::Route route;
    bool write_fenced = false;
    bool read_fenced = false;
    v1::MoveRef move;
    std::optional<v1::Route> moved_to;  // it is somebody else's; with copy_id 0: does not know whose
  };

  FakeShard(World* world, Executor* executor) : world_(world), executor_(executor) {}

  // Under the lock of the world, as everything here.
  std::vector<Owned> owned;
  std::deque<absl::Status> refuse;  // answers of the next requests
  int lose_answers = 0;             // of the next writes, after their effect
  int requests = 0;
  bool silent = false;     // never answers before its end
  int page_documents = 2;  // of a scan
  std::function<void()> after_page;

  grpc::ServerUnaryReactor* Insert(grpc::CallbackServerContext* context, const v1::ShardInsertRequest* request,
                                   v1::ShardInsertResponse* response) override {
    std::vector<std::string> keys;
    for (const auto& change : request->documents()) keys.push_back(change.shard_key());
    return Handle(context, request->route(), std::move(keys), true, [=, this] {
      for (int i = 0; i < request->documents_size(); ++i) {
        const v1::Change& change = request->documents(i);
        const Key key(change.shard_key(), change.id());
        v1::WriteOutcome* outcome = response->add_outcomes();
        const auto statement = std::pair(request->retry().session(), request->statements(i));
        auto before = world_->inserted.find(statement);
        if (before != world_->inserted.end() && before->second == key) {
          outcome->set_repeated(true);
        } else if (!world_->documents.emplace(key, change.document()).second) {
          outcome->set_code(static_cast<int>(absl::StatusCode::kAlreadyExists));
          outcome->set_message("there already");
          outcome->mutable_detail()->set_reason(v1::ErrorDetail::DUPLICATE_KEY);
        } else {
          world_->inserted[statement] = key;
          ++world_->effects;
        }
      }
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Modify(grpc::CallbackServerContext* context, const v1::ShardModifyRequest* request,
                                   v1::ShardModifyResponse* response) override {
    return Handle(context, request->route(), {request->key().shard_key()}, true, [=, this] {
      const auto statement = std::pair(request->retry().session(), request->retry().statement());
      if (auto before = world_->modified.find(statement); before != world_->modified.end()) {
        *response = before->second;
        return absl::OkStatus();
      }
      auto filter =
          document::Filter::Parse(request->filter().empty() ? std::string("\5\0\0\0\0", 5) : request->filter());
      for (auto it = world_->documents.lower_bound({request->key().shard_key(), request->key().id()});
           it != world_->documents.end() && it->first.first == request->key().shard_key(); ++it) {
        if (!request->key().id().empty() && it->first.second != request->key().id()) break;
        if (!filter->Matches(it->second)) continue;
        Change(it, request->kind(), request->update(), response);
        break;
      }
      if (response->matched() + response->deleted() > 0) world_->modified[statement] = *response;
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ModifyMany(grpc::CallbackServerContext* context, const v1::ShardModifyManyRequest* request,
                                       v1::ShardModifyManyResponse* response) override {
    return Handle(context, request->route(), {request->range().min()}, true, [=, this] {
      auto filter =
          *document::Filter::Parse(request->filter().empty() ? std::string("\5\0\0\0\0", 5) : request->filter());
      response->set_done(true);
      auto it = Behind(request->range(), request->resume());
      for (int seen = 0; it != world_->documents.end() && Within(request->range(), it->first);) {
        auto here = it++;
        if (!filter.Matches(here->second)) continue;
        const Key key = here->first;
        v1::ShardModifyResponse one;
        Change(here, request->kind(), request->update(), &one);
        response->set_matched(response->matched() + one.matched());
        response->set_modified(response->modified() + one.modified());
        response->set_deleted(response->deleted() + one.deleted());
        if (++seen >= page_documents || seen == request->limit()) {
          response->set_resume(routing::EncodeResume(key.first, key.second));
          response->set_done(false);
          break;
        }
      }
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::ShardGetRequest* request,
                                v1::ShardGetResponse* response) override {
    return Handle(context, request->route(), {request->key().shard_key()}, false, [=, this] {
      auto it = world_->documents.find({request->key().shard_key(), request->key().id()});
      if (it == world_->documents.end()) return absl::OkStatus();
      response->set_found(true);
      response->set_document(it->second);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Scan(grpc::CallbackServerContext* context, const v1::ShardScanRequest* request,
                                 v1::ShardScanResponse* response) override {
    return Handle(context, request->route(), {request->range().min(), LastOf(request->range())}, false, [=, this] {
      auto filter =
          *document::Filter::Parse(request->filter().empty() ? std::string("\5\0\0\0\0", 5) : request->filter());
      auto it = Behind(request->range(), request->resume());
      const int64_t most = request->limit() > 0 ? std::min<int64_t>(request->limit(), page_documents) : page_documents;
      response->set_done(true);
      for (; it != world_->documents.end() && Within(request->range(), it->first); ++it) {
        if (!filter.Matches(it->second)) continue;
        if (response->skipped() < request->skip()) {
          response->set_skipped(response->skipped() + 1);
          continue;
        }
        *response->add_documents() = it->second;
        if (response->documents_size() >= most) {
          response->set_resume(routing::EncodeResume(it->first.first, it->first.second));
          response->set_done(false);
          break;
        }
      }
      if (after_page) after_page();
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Count(grpc::CallbackServerContext* context, const v1::ShardCountRequest* request,
                                  v1::ShardCountResponse* response) override {
    return Handle(context, request->route(), {request->range().min()}, false, [=, this] {
      auto filter =
          *document::Filter::Parse(request->filter().empty() ? std::string("\5\0\0\0\0", 5) : request->filter());
      auto it = Behind(request->range(), request->resume());
      for (; it != world_->documents.end() && Within(request->range(), it->first); ++it) {
        response->set_count(response->count() + filter.Matches(it->second));
      }
      response->set_done(true);
      return absl::OkStatus();
    });
  }

 private:
  static bool Within(const v1::KeyRange& range, const Key& key) { return range.unbounded() || key.first < range.max(); }
  // Some key at the end of a range, for the gate.
  static std::string LastOf(const v1::KeyRange& range) {
    if (range.unbounded()) return std::string(40, '\xff');
    std::string last = range.max();
    if (last.empty() || last <= range.min()) return range.min();
    if (last.back() == 0) {
      last.pop_back();
    } else {
      --last.back();
      last += std::string(8, '\xff');
    }
    return std::max(last, range.min());
  }
  std::map<Key, std::string>::iterator Behind(const v1::KeyRange& range, const std::string& resume) {
    if (resume.empty()) return world_->documents.lower_bound({range.min(), ""});
    const auto key = *routing::DecodeResume(resume);
    return world_->documents.upper_bound({std::string(key.shard_key), std::string(key.id)});
  }

  void Change(std::map<Key, std::string>::iterator it, v1::ShardModifyRequest::Kind kind, const std::string& update,
              v1::ShardModifyResponse* response) {
    ++world_->effects;
    if (kind == v1::ShardModifyRequest::DELETE) {
      response->set_deleted(1);
      world_->documents.erase(it);
      return;
    }
    response->set_matched(1);
    response->set_modified(1);
    it->second = *document::Update::Parse(update)->Apply(it->second);
  }

  absl::Status Gate(const v1::Route& route, const std::vector<std::string>& keys, bool write) {
    for (const std::string& key : keys) {
      const Owned* best = nullptr;
      for (const Owned& chunk : owned) {
        if (routing::FromProto(chunk.route.range()).Contains(key) && chunk.route.copy_id() == route.copy_id())
          best = &chunk;
      }
      v1::ErrorDetail detail;
      detail.set_reason(v1::ErrorDetail::STALE_ROUTE);
      if (best == nullptr) return rpc::WithDetail(Aborted("not mine"), detail);
      if (best->moved_to) {
        if (best->moved_to->copy_id() != 0) *detail.mutable_route() = *best->moved_to;
        return rpc::WithDetail(Aborted("not mine any more"), detail);
      }
      if (route.token() < best->route.token()) {
        *detail.mutable_route() = best->route;
        return rpc::WithDetail(Aborted("behind"), detail);
      }
      if (route.token() == best->route.token() && (best->read_fenced || (write && best->write_fenced))) {
        detail.set_reason(v1::ErrorDetail::CHUNK_FENCED);
        detail.set_migration_id(best->move.migration_id());
        detail.set_attempt(best->move.attempt());
        return rpc::WithDetail(Unavailable("fenced"), detail);
      }
    }
    return absl::OkStatus();
  }

  template <typename Fn>
  grpc::ServerUnaryReactor* Handle(grpc::CallbackServerContext* context, const v1::Route& route,
                                   std::vector<std::string> keys, bool write, Fn fn) {
    return rpc::RunUnary(context, executor_, [=, this](const rpc::Call&, rpc::Done done) {
      absl::Status status;
      {
        std::lock_guard lock(world_->mutex);
        ++requests;
        if (silent) {
          silenced_.push_back(done);
          return;
        }
        if (!refuse.empty()) {
          status = refuse.front();
          refuse.pop_front();
        } else if (status = Gate(route, keys, write); status.ok()) {
          status = fn();
          if (write && lose_answers > 0) {
            --lose_answers;
            status = Unavailable("the connection broke");
          }
        }
      }
      done(status);
    });
  }

 public:
  void EndSilence() {
    std::vector<rpc::Done> silenced;
    {
      std::lock_guard lock(world_->mutex);
      silent = false;
      silenced.swap(silenced_);
    }
    for (auto& done : silenced) done(Unavailable("the end"));
  }

 private:
  World* const world_;
  Executor* const executor_;
  std::vector<rpc::Done> silenced_;
};

}  // namespace terrane::proxy::testing
