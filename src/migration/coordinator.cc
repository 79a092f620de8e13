#include "migration/coordinator.h"

#include "common/executor.h"
#include "migration/coordinator_loop.h"

namespace terrane::migration {

// The loop's thread and timer.
class Coordinator::Host : public LoopHost {
 public:
  void Post(std::function<void()> fn) override { (void)executor_.Post(std::move(fn)); }
  Timer::Id After(std::chrono::nanoseconds delay, std::function<void()> fn) override {
    return timer_.After(delay, std::move(fn));
  }
  void Cancel(Timer::Id id) override { timer_.Cancel(id); }
  void Stop() {
    timer_.Stop();
    executor_.Stop();
  }

 private:
  Timer timer_;
  Executor executor_{"coord", 1};
};

Coordinator::Coordinator(Clock* clock, MetadataGateway* metadata, ShardGateway* shards)
    : host_(std::make_shared<Host>()), loop_(std::make_shared<CoordinatorLoop>(clock, metadata, shards, host_)) {}
Coordinator::~Coordinator() {
  Stop();
}

void Coordinator::StartLeading(Term term) {
  loop_->Post([term](CoordinatorLoop& loop) { loop.StartLeading(term); });
}
void Coordinator::StopLeading() {
  loop_->Post([](CoordinatorLoop& loop) { loop.StopLeading(); });
}
void Coordinator::RecordsChanged(std::vector<uint64_t> ids) {
  loop_->Post([ids = std::move(ids)](CoordinatorLoop& loop) { loop.RecordsChanged(ids); });
}
void Coordinator::SettingsChanged() {
  loop_->Post([](CoordinatorLoop& loop) { loop.SettingsChanged(); });
}
std::optional<v1::MigrationProgress> Coordinator::Progress(MigrationId id) const {
  return loop_->Progress(id);
}
void Coordinator::Stop() {
  host_->Stop();
}

}  // namespace terrane::migration
