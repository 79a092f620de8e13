#include "replication/apply_thread.h"

#include <utility>

#include "common/status.h"
#include "raft/log_view.h"

namespace terrane::replication {

ApplyThread::ApplyThread(StateMachine* machine, Position applied, uint64_t max_batch_bytes, Callbacks callbacks)
    : machine_(machine),
      max_batch_bytes_(max_batch_bytes),
      callbacks_(std::move(callbacks)),
      applied_(applied.value()) {}

ApplyThread::~ApplyThread() {
  Stop();
}

void ApplyThread::Start() {
  thread_ = std::thread([this] { Run(); });
}

void ApplyThread::PushCommitted(std::vector<raft::Entry> entries, std::vector<PendingProposal> proposals) {
  uint64_t bytes = 0;
  for (const raft::Entry& entry : entries) bytes += raft::Cost(entry);
  queued_bytes_ += bytes;
  {
    std::lock_guard lock(mutex_);
    items_.push_back({std::move(entries), std::move(proposals), nullptr, bytes});
  }
  wake_.notify_one();
}

void ApplyThread::PushTask(std::function<void()> task) {
  {
    std::lock_guard lock(mutex_);
    items_.push_back({{}, {}, std::move(task), 0});
  }
  wake_.notify_one();
}

void ApplyThread::WhenApplied(Position position, std::function<void()> task) {
  PushTask([this, position, task = std::move(task)]() mutable {
    if (position <= applied()) {
      task();
    } else {
      waiting_.emplace(position, std::move(task));
    }
  });
}

void ApplyThread::StopApplying() {
  no_more_ = true;
}

void ApplyThread::Stop() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  Drop(std::exchange(held_, {}));
  // What came while the thread ended, and what waits for a position; the tasks find a stopped log and say so to their
  // callers, some of them by another task.
  while (true) {
    for (auto& [position, task] : std::exchange(waiting_, {})) task();
    std::unique_lock lock(mutex_);
    if (items_.empty()) break;
    std::vector<Item> rest(std::make_move_iterator(items_.begin()), std::make_move_iterator(items_.end()));
    items_.clear();
    lock.unlock();
    no_more_ = true;
    for (Item& item : rest) {
      if (item.task) item.task();
    }
    Drop(std::move(rest));
  }
}

void ApplyThread::SetApplied(Position position) {
  applied_.store(position.value(), std::memory_order_release);
  held_up_ = false;
  DropApplied(&held_);
  {
    std::lock_guard lock(mutex_);
    items_.insert(items_.begin(), std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
  }
  held_.clear();
  RunDue();
}

void ApplyThread::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !items_.empty(); });
    if (items_.empty()) return;  // stop_
    std::vector<Item> items;
    uint64_t bytes = 0;
    while (!items_.empty() && (items.empty() || (!items_.front().task && bytes < max_batch_bytes_))) {
      for (const raft::Entry& entry : items_.front().entries) bytes += entry.data.size();
      items.push_back(std::move(items_.front()));
      items_.pop_front();
      if (items.back().task) break;
    }
    lock.unlock();
    if (no_more_) Drop(std::exchange(held_, {}));
    if (items.back().task) {
      items.back().task();
    } else if (no_more_) {
      Drop(std::move(items));
    } else if (held_up_) {
      held_.insert(held_.end(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
    } else {
      Apply(std::move(items));
    }
    lock.lock();
  }
}

void ApplyThread::Apply(std::vector<Item> items) {
  std::vector<CommittedEntry> batch;
  for (const Item& item : items) {
    for (const raft::Entry& entry : item.entries) {
      const bool internal = entry.type != raft::EntryType::kNormal;
      batch.push_back({entry.index, entry.term, internal ? std::string_view() : entry.data.view(), internal});
    }
  }
  std::vector<ApplyResult> results(batch.size());
  absl::Status status = machine_->Apply(batch, results);
  if (std::optional<Position> needed = CheckpointNeeded(status); needed && callbacks_.needs_checkpoint) {
    held_up_ = true;
    applied_.store(machine_->AppliedPosition().value(), std::memory_order_release);
    DropApplied(&items);
    held_ = std::move(items);
    RunDue();
    callbacks_.needs_checkpoint(*needed, std::move(status));
    if (no_more_) Drop(std::exchange(held_, {}));
    return;
  }
  if (absl::IsCancelled(status)) {
    no_more_ = true;
    Drop(std::move(items));
    return;
  }
  if (!status.ok()) {
    no_more_ = true;
    callbacks_.failed(std::move(status));
    Drop(std::move(items));
    return;
  }
  applied_.store(batch.back().position.value(), std::memory_order_release);
  Answer(&items, batch, &results);
  for (const Item& item : items) queued_bytes_ -= item.bytes;
  RunDue();
  callbacks_.applied(batch.back().position);
}

void ApplyThread::Answer(std::vector<Item>* items, const std::vector<CommittedEntry>& batch,
                         std::vector<ApplyResult>* results) {
  for (Item& item : *items) {
    for (PendingProposal& proposal : item.proposals) {
      const size_t i = proposal.position.value() - batch.front().position.value();
      ProposeResult result;
      result.term = proposal.term;
      if (batch[i].term == proposal.term) {
        result.outcome = ProposeOutcome::kApplied;
        result.status = std::move((*results)[i].status);
        result.value = std::move((*results)[i].value);
        result.position = proposal.position;
      } else {
        result.status = Unavailable("another leader's entry stands in the place of this one");
      }
      proposal.done(std::move(result));
    }
  }
}

void ApplyThread::Drop(std::vector<Item> items) {
  for (Item& item : items) {
    queued_bytes_ -= item.bytes;
    for (PendingProposal& proposal : item.proposals) {
      ProposeResult result;
      result.outcome = ProposeOutcome::kUnknown;
      result.term = proposal.term;
      result.status = Aborted("the log of this replica has stopped before the entry was applied");
      proposal.done(std::move(result));
    }
  }
}

void ApplyThread::DropApplied(std::vector<Item>* items) {
  for (Item& item : *items) {
    Item gone;
    while (!item.proposals.empty() && item.proposals.front().position <= applied()) {
      gone.proposals.push_back(std::move(item.proposals.front()));
      item.proposals.erase(item.proposals.begin());
    }
    std::erase_if(item.entries, [&](const raft::Entry& entry) {
      if (entry.index > applied()) return false;
      item.bytes -= raft::Cost(entry);
      queued_bytes_ -= raft::Cost(entry);
      return true;
    });
    std::vector<Item> dropped;
    dropped.push_back(std::move(gone));
    Drop(std::move(dropped));
  }
  std::erase_if(*items, [](const Item& item) { return item.entries.empty() && !item.task; });
}

void ApplyThread::RunDue() {
  while (!waiting_.empty() && waiting_.begin()->first <= applied()) {
    auto task = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    task();
  }
}

}  // namespace terrane::replication
