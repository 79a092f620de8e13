#include "shard/import_host.h"

#include <condition_variable>
#include <mutex>
#include <optional>

#include "common/status.h"
#include "shard/core.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

constexpr std::chrono::seconds kProposeTimeout{20};

}  // namespace

struct PendingEntry::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::optional<absl::StatusOr<EntryResult>> result;
};

PendingEntry::PendingEntry(const ImportHost& host, v1::ShardEntry entry, const MoveRef& move)
    : state_(std::make_shared<State>()), move_(move), await_(host.await) {
  host.propose(std::move(entry), [state = state_](absl::StatusOr<EntryResult> result) {
    std::lock_guard lock(state->mutex);
    state->result = std::move(result);
    state->wake.notify_all();
  });
}

bool PendingEntry::AwaitResult() {
  auto ready = [this] { return state_->result.has_value(); };
  if (await_) return await_(ready, kProposeTimeout);
  std::unique_lock lock(state_->mutex);
  return state_->wake.wait_for(lock, kProposeTimeout, ready);
}

absl::StatusOr<EntryResult> PendingEntry::Wait() {
  if (!AwaitResult()) {
    return absl::DeadlineExceededError("the entry was not applied in time; it may be later");
  }
  TERRANE_RETURN_IF_ERROR(state_->result->status());
  const EntryResult& result = **state_->result;
  if (!result.ok()) return ToStatus(result, move_);
  return result;
}

ImportHost MakeImportHost(const Core* core) {
  ImportHost host;
  host.store = core->store;
  host.clock = core->clock;
  host.ownership = [core] { return core->applier->View(); };
  host.propose = [core](v1::ShardEntry entry, std::function<void(absl::StatusOr<EntryResult>)> done) {
    const absl::StatusOr<Term> term = core->proposer->ServingTerm();
    if (!term.ok()) return done(term.status());
    core->proposer->Propose(*term, std::move(entry), [core, done](replication::ProposeResult result) {
      const auto* value = std::any_cast<EntryResult>(&result.value);
      if (result.outcome == replication::ProposeOutcome::kApplied && value != nullptr) return done(*value);
      const absl::Status status = core->proposer->StatusOf(result);
      done(status.ok() ? Internal("an entry of an import had no result") : status);
    });
  };
  return host;
}

absl::StatusOr<EntryResult> ProposeImportEntry(const ImportHost& host, v1::ShardEntry entry, const MoveRef& move) {
  return PendingEntry(host, std::move(entry), move).Wait();
}

}  // namespace terrane::shard
