#include "replication/checkpoint_keeper.h"

#include <utility>

namespace terrane::replication {

void CheckpointKeeper::Keep(std::shared_ptr<const Checkpoint> checkpoint) {
  std::shared_ptr<Kept> before;  // goes outside of the lock
  std::lock_guard lock(mutex_);
  if (closed_) return;
  before = std::move(kept_);
  kept_ = std::make_shared<Kept>(Kept{std::move(checkpoint), 0, clock_->Now() + keep_});
}

std::shared_ptr<const Checkpoint> CheckpointKeeper::Lend(Position at_least) {
  std::lock_guard lock(mutex_);
  if (kept_ == nullptr || kept_->checkpoint->point.position < at_least) return nullptr;
  ++kept_->readers;
  const Checkpoint* const lent = kept_->checkpoint.get();
  return {lent, [self = shared_from_this(), kept = kept_](const Checkpoint*) { self->Returned(kept.get()); }};
}

std::shared_ptr<const Checkpoint> CheckpointKeeper::Lend(Position at_least, const std::string& id) {
  {
    std::lock_guard lock(mutex_);
    if (kept_ == nullptr || kept_->checkpoint->id != id) return nullptr;
  }
  return Lend(at_least);  // a newer one is as good
}

void CheckpointKeeper::Returned(Kept* kept) {
  std::lock_guard lock(mutex_);
  if (--kept->readers == 0 && !closed_) kept->until = clock_->Now() + keep_;
}

std::shared_ptr<const Checkpoint> CheckpointKeeper::Expired() {
  std::lock_guard lock(mutex_);
  if (kept_ == nullptr || kept_->readers > 0 || clock_->Now() < kept_->until) return nullptr;
  return std::exchange(kept_, nullptr)->checkpoint;
}

void CheckpointKeeper::Close() {
  std::shared_ptr<Kept> before;
  std::lock_guard lock(mutex_);
  closed_ = true;
  before = std::move(kept_);
}

}  // namespace terrane::replication
