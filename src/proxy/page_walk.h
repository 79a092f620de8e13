// Walks over key ranges page by page: every key of them exactly once, at whoever owns it when its page is asked for.
//
// A range that moves while the walk is in it goes on at its resume key at the new owner; one that is split goes on in
// its parts. Nothing is restarted, so each document is met at most once. Includes gRPC.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/status.h"
#include "proxy/routed_call.h"
#include "routing/range_proto.h"
#include "routing/resume_key.h"

namespace terrane::proxy {

// Where a walk is.
struct WalkPiece {
  KeyRange range;      // still to be walked
  std::string resume;  // of the last page; its shard key is the range's minimum. Empty: from the start of the range
};

// Request and Response: ShardScan, ShardCount or ShardModifyMany. Keeps itself alive until its end; one page at a time,
// so no locks are needed.
template <typename Request, typename Response>
class PageWalk : public std::enable_shared_from_this<PageWalk<Request, Response>> {
 public:
  using Call = ShardCall<Request, Response>;
  using GoOn = std::function<void(bool)>;

  // `deadline` gives that of the next page.
  PageWalk(const CallEnvironment* environment, CollectionId collection, std::function<MonotonicTime()> deadline,
           const rpc::Call* caller, bool write, typename Call::Method method)
      : environment_(environment),
        collection_(collection),
        deadline_(std::move(deadline)),
        caller_(caller),
        write_(write),
        method_(method) {}

  std::deque<WalkPiece> pieces;
  // Fills the request but for route, range and resume.
  std::function<void(Request&)> prepare;
  // Gets every page; go_on(true), now or later, asks for the next one, go_on(false) ends the walk with OK. When it is
  // called `pieces` say what is left.
  std::function<void(Response&, GoOn)> page;
  // Once, when all is done, or with the error that ended it.
  std::function<void(absl::Status)> end;

  void Start() { Step(); }

 private:
  void Step() {
    if (pieces.empty()) return Finish(absl::OkStatus());
    const WalkPiece& piece = pieces.front();
    KeyRange part = piece.range;
    const auto map = environment_->table->Get();
    if (const routing::ChunkRoute* route = map->Find(collection_, part.min)) part = part.Intersect(route->range);
    auto call =
        std::make_shared<Call>(environment_, CallScope{collection_, deadline_(), caller_}, part.min, write_, method_);
    routing::ToProto(part, call->request.mutable_range());
    call->request.set_resume(piece.resume);
    prepare(call->request);
    call->fits = [part](const routing::ChunkRoute& route) { return route.range.Contains(part); };
    call->then = [self = this->shared_from_this(), part](CallEnd how, const absl::Status& status, Call& call) {
      if (how == CallEnd::kReplan) return self->Step();
      if (!status.ok()) return self->Finish(status);
      if (absl::Status bad = self->Advance(part, call.response); !bad.ok()) return self->Finish(bad);
      self->page(call.response, [self](bool go_on) {
        if (go_on) {
          self->Step();
        } else {
          self->Finish(absl::OkStatus());
        }
      });
    };
    call->Start();
  }

  absl::Status Advance(const KeyRange& part, const Response& response) {
    WalkPiece& piece = pieces.front();
    if (!response.done()) {
      const auto resume = routing::DecodeResume(response.resume());
      if (!resume || !part.Contains(resume->shard_key))
        return Internal("the shard's resume key is not one of its range");
      piece.range.min = resume->shard_key;
      piece.resume = response.resume();
    } else if (!part.max || (piece.range.max && *part.max >= *piece.range.max)) {
      pieces.pop_front();
    } else {
      piece.range.min = *part.max;
      piece.resume.clear();
    }
    return absl::OkStatus();
  }

  void Finish(absl::Status status) {
    auto last = std::move(end);
    end = nullptr;
    page = nullptr;  // breaks cycles
    prepare = nullptr;
    last(std::move(status));
  }

  const CallEnvironment* const environment_;
  const CollectionId collection_;
  const std::function<MonotonicTime()> deadline_;
  const rpc::Call* const caller_;
  const bool write_;
  const typename Call::Method method_;
};

// Cuts ranges at the borders of the chunks of the map.
inline std::vector<KeyRange> CutByChunks(const routing::ChunkMap& map, CollectionId collection,
                                         const std::vector<KeyRange>& ranges) {
  std::vector<KeyRange> cut;
  const routing::CollectionRoutes* routes = map.FindCollection(collection);
  for (const KeyRange& range : ranges) {
    KeyRange rest = range;
    if (routes != nullptr) {
      for (const routing::ChunkRoute* route : routes->chunks.Overlapping(range)) {
        if (!route->range.max || (rest.max && *route->range.max >= *rest.max)) break;
        cut.push_back({rest.min, route->range.max});
        rest.min = *route->range.max;
      }
    }
    cut.push_back(std::move(rest));
  }
  return cut;
}

// Runs walks over the parts of key ranges side by side, at most `parallel` at a time. The first error ends it, but only
// after the walks that are under way have ended. Thread-safe inside; keeps itself alive.
class Scatter : public std::enable_shared_from_this<Scatter> {
 public:
  using Each = std::function<void(KeyRange, std::function<void(absl::Status)>)>;
  Scatter(std::vector<KeyRange> parts, Each each, std::function<void(absl::Status)> end)
      : parts_(std::move(parts)), each_(std::move(each)), end_(std::move(end)) {}

  void Start(int parallel) {
    {
      std::lock_guard lock(mutex_);
      running_ = 1;  // this function
    }
    for (int i = 0; i < parallel; ++i) Next();
    Ended(absl::OkStatus());
  }

 private:
  void Next() {
    KeyRange part;
    {
      std::lock_guard lock(mutex_);
      if (next_ >= parts_.size() || !status_.ok()) return;
      part = std::move(parts_[next_++]);
      ++running_;
    }
    each_(std::move(part), [self = shared_from_this()](absl::Status status) {
      const bool ok = status.ok();
      if (ok) self->Next();
      self->Ended(std::move(status));
    });
  }

  void Ended(absl::Status status) {
    std::function<void(absl::Status)> end;
    {
      std::lock_guard lock(mutex_);
      if (status_.ok()) status_ = std::move(status);
      if (--running_ > 0) return;
      end = std::move(end_);
      status = status_;
    }
    each_ = nullptr;
    end(status);
  }

  std::mutex mutex_;
  std::vector<KeyRange> parts_;
  Each each_;
  std::function<void(absl::Status)> end_;
  size_t next_ = 0;
  int running_ = 0;
  absl::Status status_;
};

}  // namespace terrane::proxy
