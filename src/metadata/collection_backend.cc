#include "metadata/collection_backend.h"

#include <deque>
#include <map>

#include "common/executor.h"
#include "common/logging.h"
#include "common/status.h"
#include "common/timer.h"
#include "metadata/node.h"

namespace terrane::metadata {
namespace {

constexpr int kInFlight = 32;  // steps of one collection at once
constexpr std::chrono::seconds kStepTimeout(5);
constexpr std::chrono::milliseconds kFirstPause(20);
constexpr std::chrono::milliseconds kGreatestPause(1000);
// Records of ended moves that are kept for people.
constexpr size_t kKeptMigrations = 1000;

struct Told {
  std::string shard;
  migration::StepRequest step;
};

migration::StepRequest CreateStep(const v1::Collection& collection, const v1::Chunk& chunk) {
  v1::CreateChunkStep step;
  auto* entry = step.mutable_entry();
  entry->set_collection_id(collection.id());
  entry->set_epoch(collection.epoch());
  *entry->mutable_range() = chunk.range();
  entry->set_copy_id(chunk.copy_id());
  entry->set_token(chunk.token());
  entry->set_collection(collection.name());
  entry->set_shard_key(collection.shard_key());
  return step;
}

migration::StepRequest DropStep(const v1::Chunk& chunk) {
  v1::DropCopyStep step;
  step.mutable_entry()->set_collection_id(chunk.collection_id());
  step.mutable_entry()->set_copy_id(chunk.copy_id());
  *step.mutable_entry()->mutable_range() = chunk.range();
  return step;  // without a move: the collection is dropped
}

// A collection that is on its way in or out.
struct Task {
  v1::Collection::State state = v1::Collection::READY;
  std::deque<Told> waiting;
  int in_flight = 0;
  bool proposing = false;
  bool paused = false;
  std::chrono::milliseconds pause = kFirstPause;
  uint64_t generation = 0;
};

}  // namespace

class CollectionBackend::Loop : public std::enable_shared_from_this<CollectionBackend::Loop> {
 public:
  explicit Loop(Node* node) : node_(node), executor_("collections", 1) {}

  void Stop() {
    timer_.Stop();
    executor_.Stop();
  }
  void Post(std::function<void(Loop&)> fn) {
    (void)executor_.Post([self = weak_from_this(), fn = std::move(fn)] {
      if (auto loop = self.lock()) fn(*loop);
    });
  }

  void StartLeading(Term term) {
    leading_ = true;
    term_ = term;
    forgetting_ = false;
    tasks_.clear();
    Look();
  }
  void StopLeading() {
    leading_ = false;
    tasks_.clear();
  }

  // Takes up what is on its way and not known yet, goes on with what was waiting.
  void Look() {
    if (!leading_) return;
    std::vector<v1::Collection> moving = node_->Read([](const State& state) {
      std::vector<v1::Collection> moving;
      for (const auto& [id, entry] : state.collections()) {
        if (entry.record.state() != v1::Collection::READY) moving.push_back(entry.record);
      }
      return moving;
    });
    std::erase_if(tasks_, [&](const auto& task) {
      return std::none_of(moving.begin(), moving.end(), [&](const auto& record) { return record.id() == task.first; });
    });
    for (const v1::Collection& record : moving) {
      Task& task = tasks_[record.id()];
      if (task.generation == 0 || task.state != record.state()) Begin(record, &task);
      Advance(record.id());
    }
    Forget();
  }

 private:
  void Begin(const v1::Collection& record, Task* task) {
    *task = Task();
    task->state = record.state();
    task->generation = ++generations_;
    node_->Read([&](const State& state) {
      const auto* entry = state.FindCollection(CollectionId(record.id()));
      if (entry == nullptr) return;
      for (const auto& [min, chunk] : entry->chunks) {
        task->waiting.push_back(
            {chunk.shard(), record.state() == v1::Collection::CREATING ? CreateStep(record, chunk) : DropStep(chunk)});
      }
    });
  }

  bool HasActiveMoves(uint32_t id) const {
    return node_->Read([&](const State& state) {
      for (const auto& [migration_id, record] : state.migrations()) {
        if (record.collection_id() == id && !migration::IsEnded(migration::StageOf(record))) return true;
      }
      return false;
    });
  }

  void Advance(uint32_t id) {
    auto found = tasks_.find(id);
    if (found == tasks_.end()) return;
    Task& task = found->second;
    if (task.paused || task.proposing) return;
    if (task.state == v1::Collection::DROPPING) {
      // The coordinator ends its moves first; their change of records calls again. A move that was committed meanwhile
      // has changed the copies.
      if (HasActiveMoves(id)) {
        task.generation = 0;
        return;
      }
    }
    while (!task.waiting.empty() && task.in_flight < kInFlight) {
      Told told = std::move(task.waiting.front());
      task.waiting.pop_front();
      ++task.in_flight;
      node_->shards().Send(
          told.shard, told.step, kStepTimeout,
          [self = weak_from_this(), id, generation = task.generation,
           told](absl::StatusOr<migration::StepAnswer> answer) {
            auto loop = self.lock();
            if (!loop) return;
            loop->Post([=, status = answer.status()](Loop& loop) { loop.OnAnswer(id, generation, told, status); });
          });
    }
    if (task.in_flight == 0 && task.waiting.empty()) Finish(id, &task);
  }

  void OnAnswer(uint32_t id, uint64_t generation, const Told& told, const absl::Status& status) {
    auto found = tasks_.find(id);
    if (found == tasks_.end() || found->second.generation != generation) return;
    Task& task = found->second;
    --task.in_flight;
    if (status.ok()) {
      task.pause = kFirstPause;
    } else {
      LogWarn("collections", "a shard was not told", {{"collection", id}, {"shard", told.shard}, {"status", status}});
      task.waiting.push_back(told);
      Pause(id, &task);
    }
    Advance(id);
  }

  void Pause(uint32_t id, Task* task) {
    if (task->paused) return;
    task->paused = true;
    timer_.After(task->pause, [self = weak_from_this(), id, generation = task->generation] {
      auto loop = self.lock();
      if (!loop) return;
      loop->Post([=](Loop& loop) {
        auto found = loop.tasks_.find(id);
        if (found == loop.tasks_.end() || found->second.generation != generation) return;
        found->second.paused = false;
        loop.Advance(id);
      });
    });
    task->pause = std::min(task->pause * 2, kGreatestPause);
  }

  void Finish(uint32_t id, Task* task) {
    task->proposing = true;
    v1::MetadataCommand command;
    if (task->state == v1::Collection::CREATING) {
      command.mutable_collection_ready()->set_collection_id(id);
    } else {
      command.mutable_collection_gone()->set_collection_id(id);
    }
    node_->Propose(
        term_, std::move(command),
        [self = weak_from_this(), id, generation = task->generation](absl::StatusOr<v1::CommandResult> result) {
          auto loop = self.lock();
          if (!loop) return;
          const bool done = result.ok() && result->code() == 0;
          loop->Post([=](Loop& loop) {
            auto found = loop.tasks_.find(id);
            if (found == loop.tasks_.end() || found->second.generation != generation) return;
            found->second.proposing = false;
            if (!done) loop.Pause(id, &found->second);
          });
        });
  }

  // Drops records of moves that ended long ago.
  void Forget() {
    if (forgetting_) return;
    uint64_t below = 0;
    node_->Read([&](const State& state) {
      size_t surplus = state.migrations().size() > kKeptMigrations + kKeptMigrations / 4
                           ? state.migrations().size() - kKeptMigrations
                           : 0;
      for (const auto& [id, record] : state.migrations()) {
        if (surplus-- == 0 || !migration::IsEnded(migration::StageOf(record))) break;
        below = id + 1;
      }
    });
    if (below == 0) return;
    forgetting_ = true;
    v1::MetadataCommand command;
    command.mutable_forget_migrations()->set_below(below);
    node_->Propose(term_, std::move(command), [self = weak_from_this()](absl::StatusOr<v1::CommandResult>) {
      if (auto loop = self.lock()) loop->Post([](Loop& loop) { loop.forgetting_ = false; });
    });
  }

  Node* const node_;
  bool leading_ = false;
  bool forgetting_ = false;
  Term term_;
  uint64_t generations_ = 0;
  std::map<uint32_t, Task> tasks_;
  Timer timer_;
  Executor executor_;
};

CollectionBackend::CollectionBackend(Node* node) : loop_(std::make_shared<Loop>(node)) {}
CollectionBackend::~CollectionBackend() {
  Stop();
}
void CollectionBackend::StartLeading(Term term) {
  loop_->Post([term](Loop& loop) { loop.StartLeading(term); });
}
void CollectionBackend::StopLeading() {
  loop_->Post([](Loop& loop) { loop.StopLeading(); });
}
void CollectionBackend::Changed() {
  loop_->Post([](Loop& loop) { loop.Look(); });
}
void CollectionBackend::Stop() {
  loop_->Stop();
}

}  // namespace terrane::metadata
