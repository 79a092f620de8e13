#include "support/list_machine.h"

#include "common/status.h"

namespace terrane::testing {

using replication::ApplyResult;
using replication::CommittedEntry;

void ListMachine::PowerCut(std::mt19937_64* random) {
  std::lock_guard lock(mutex_);
  items_.resize(durable_ + (*random)() % (items_.size() - durable_ + 1));
  leads_.reset();
}

std::vector<std::string> ListMachine::Data() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> data;
  for (const Item& item : items_) {
    if (!item.internal) data.push_back(item.data);
  }
  return data;
}

Position ListMachine::Applied() const {
  std::lock_guard lock(mutex_);
  return Position(items_.size());
}

std::optional<Term> ListMachine::Leads() const {
  std::lock_guard lock(mutex_);
  return leads_;
}

int ListMachine::leader_starts() const {
  std::lock_guard lock(mutex_);
  return leader_starts_;
}

int ListMachine::installs() const {
  std::lock_guard lock(mutex_);
  return installs_;
}

uint64_t ListMachine::batches() const {
  std::lock_guard lock(mutex_);
  return batches_;
}

void ListMachine::FailApply(absl::Status status) {
  std::lock_guard lock(mutex_);
  fail_ = std::move(status);
}

void ListMachine::Hold(bool hold) {
  {
    std::lock_guard lock(mutex_);
    hold_ = hold;
  }
  released_.notify_all();
}

void ListMachine::Lack(std::string data) {
  std::lock_guard lock(mutex_);
  lacking_ = std::move(data);
}

void ListMachine::SetApplied(Position position) {
  std::lock_guard lock(mutex_);
  items_.resize(position.value());
  durable_ = std::min(durable_, items_.size());
}

Position ListMachine::AppliedPosition() {
  return Applied();
}

absl::Status ListMachine::Apply(std::span<const CommittedEntry> batch, std::span<ApplyResult> results) {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [this] { return !hold_; });
  if (!fail_.ok()) return fail_;
  ++batches_;
  for (size_t i = 0; i < batch.size(); ++i) {
    const CommittedEntry& entry = batch[i];
    if (entry.position.value() != items_.size() + 1) {
      return Internal("entry ", entry.position.value(), " is given after ", items_.size());
    }
    if (!items_.empty() && entry.term < items_.back().term) return Internal("terms go back");
    if (!lacking_.empty() && entry.data == lacking_) return replication::NeedsCheckpoint(entry.position, "lacks it");
    items_.push_back({entry.term, entry.internal, std::string(entry.data)});
    if (entry.data == "refuse me") results[i].status = FailedPrecondition("refused at apply");
    results[i].value = std::string(entry.data);
  }
  return absl::OkStatus();
}

absl::StatusOr<Position> ListMachine::MakeDurable() {
  std::lock_guard lock(mutex_);
  durable_ = items_.size();
  return Position(durable_);
}

absl::Status ListMachine::TakeCheckpoint(const std::filesystem::path& directory) {
  std::lock_guard lock(mutex_);
  std::string content;
  for (const Item& item : items_) {
    StrAppend(&content, item.term.value(), " ", item.internal ? 1 : 0, " ", item.data.size(), "\n", item.data);
  }
  TERRANE_RETURN_IF_ERROR(replication::WriteFileAtomically(file_system_, directory / "items", content));
  return replication::WriteFileAtomically(file_system_, directory / "count", StrCat(items_.size()));
}

absl::Status ListMachine::InstallCheckpoint(const std::filesystem::path& directory) {
  TERRANE_ASSIGN_OR_RETURN(std::string content, replication::ReadFile(file_system_, directory / "items"));
  TERRANE_ASSIGN_OR_RETURN(std::string count, replication::ReadFile(file_system_, directory / "count"));
  std::vector<Item> items;
  for (size_t at = 0; at < content.size();) {
    const size_t line = content.find('\n', at);
    size_t used = 0;
    const std::string head = content.substr(at, line - at);
    Item item;
    item.term = Term(std::stoull(head, &used));
    item.internal = head[used + 1] == '1';
    const size_t size = std::stoull(head.substr(used + 3));
    item.data = content.substr(line + 1, size);
    at = line + 1 + size;
    items.push_back(std::move(item));
  }
  if (std::to_string(items.size()) != count) return DataLoss("the checkpoint is not whole");
  std::lock_guard lock(mutex_);
  items_ = std::move(items);
  durable_ = items_.size();
  ++installs_;
  return absl::OkStatus();
}

void ListMachine::OnLeaderStart(Term term) {
  std::lock_guard lock(mutex_);
  leads_ = term;
  ++leader_starts_;
}

void ListMachine::OnLeaderStop(Term term) {
  std::lock_guard lock(mutex_);
  if (leads_ == term) leads_.reset();
}

}  // namespace terrane::testing
