#include "power_world.h"

#include "support/await.h"

namespace terrane::shard {
namespace {

constexpr std::chrono::seconds kPatience{30};

}  // namespace

void Findings::Add(std::string what) {
  std::lock_guard lock(mutex_);
  if (all_.size() < 20) all_.push_back(std::move(what));
}

bool Findings::empty() const {
  std::lock_guard lock(mutex_);
  return all_.empty();
}

std::vector<std::string> Findings::All() const {
  std::lock_guard lock(mutex_);
  return all_;
}

void Gate::WaitOpen(std::unique_lock<std::mutex>* lock) {
  if (!closed_ || abandoned_) return;
  ++halted_;
  changed_.notify_all();
  changed_.wait(*lock, [this] { return !closed_ || abandoned_; });
  --halted_;
}

bool Gate::Pass() {
  std::unique_lock lock(mutex_);
  WaitOpen(&lock);
  return !finish_ && !abandoned_;
}

bool Gate::Again() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(1), [this] { return closed_ || abandoned_; });
  WaitOpen(&lock);
  return !abandoned_;
}

void Gate::Leave() {
  std::lock_guard lock(mutex_);
  --threads_;
  changed_.notify_all();
}

void Gate::Close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool Gate::AwaitHalt() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience * testing::kSlowness, [this] { return halted_ == threads_; });
}

void Gate::Open() {
  std::lock_guard lock(mutex_);
  closed_ = false;
  changed_.notify_all();
}

void Gate::Finish() {
  std::lock_guard lock(mutex_);
  finish_ = true;
}

void Gate::Abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  changed_.notify_all();
}

bool Gate::AwaitEnd() {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience * testing::kSlowness, [this] { return threads_ == 0; });
}

std::string_view MoveStageName(MoveStage stage) {
  static constexpr std::string_view kNames[kMoveStages] = {
      "prepare", "copy", "verify", "fence", "complete", "fence reads", "committed", "clean", "end attempt", "abort"};
  return kNames[static_cast<size_t>(stage)];
}

void PowerSwitch::Arm(const Plan& plan) {
  std::lock_guard lock(mutex_);
  plan_ = plan;
  armed_ = true;
  cut_ = 0;
  counting_ = !plan.from;
}

uint32_t PowerSwitch::Disarm() {
  std::unique_lock lock(mutex_);
  counting_ = false;
  armed_ = false;
  changed_.wait(lock, [this] { return !cutting_; });
  return std::exchange(cut_, 0);
}

uint32_t PowerSwitch::AwaitCut(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, limit, [this] { return cut_ != 0; });
  return cut_;
}

void PowerSwitch::OnOperation() {
  if (!counting_.load(std::memory_order_relaxed)) return;
  {
    std::lock_guard lock(mutex_);
    if (!counting_ || --plan_.operations > 0) return;
    counting_ = false;
    cutting_ = true;
  }
  Cut();
}

void PowerSwitch::Cut() {
  gate_->Close();
  std::mt19937_64 random(plan_.seed);
  const size_t first = random() % shards_.size();
  for (size_t i = 0; i < shards_.size(); ++i) {
    const size_t shard = (first + i) % shards_.size();
    if ((plan_.victims >> shard) & 1) shards_[shard]->PowerOff(&random);
  }
  std::lock_guard lock(mutex_);
  cutting_ = false;
  armed_ = false;
  cut_ = plan_.victims;
  changed_.notify_all();
}

void PowerSwitch::EnterStage(MoveStage stage) {
  std::lock_guard lock(mutex_);
  stage_ = stage;
  if (armed_ && plan_.from == stage) counting_ = true;
}

}  // namespace terrane::shard
