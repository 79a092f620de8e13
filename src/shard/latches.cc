#include "shard/latches.h"

#include <algorithm>
#include <utility>

namespace terrane::shard {
namespace {

void AppendNumber(uint64_t value, int bytes, std::string* out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

std::string Name(char kind, CopyId copy, std::string_view first, std::string_view second) {
  std::string name;
  name.reserve(9 + first.size() + second.size());
  name.push_back(kind);
  AppendNumber(copy.value(), 4, &name);
  AppendNumber(first.size(), 4, &name);
  name.append(first);
  name.append(second);
  return name;
}

}  // namespace

std::string DocumentLatch(CopyId copy, std::string_view shard_key, std::string_view id) {
  return Name('d', copy, shard_key, id);
}
std::string SelectionLatch(CopyId copy, std::string_view shard_key) {
  return Name('k', copy, shard_key, "");
}
std::string StatementLatch(CopyId copy, std::string_view session, int64_t statement) {
  std::string number;
  AppendNumber(static_cast<uint64_t>(statement), 8, &number);
  return Name('s', copy, session, number);
}

Latches::Hold& Latches::Hold::operator=(Hold&& other) noexcept {
  if (this == &other) return *this;
  Release();
  latches_ = std::exchange(other.latches_, nullptr);
  names_ = std::move(other.names_);
  return *this;
}

void Latches::Hold::Release() {
  if (latches_ != nullptr) std::exchange(latches_, nullptr)->Release(names_);
}

void Latches::Acquire(std::vector<std::string> names, std::function<void(Hold)> then) {
  if (names.size() > 1) {
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
  }
  auto request = std::make_shared<Request>();
  request->names = std::move(names);
  request->then = std::move(then);
  Advance(request);
}

void Latches::Advance(const std::shared_ptr<Request>& request) {
  while (request->held < request->names.size()) {
    const std::string& name = request->names[request->held];
    Stripe& stripe = StripeOf(name);
    std::lock_guard lock(stripe.mutex);
    auto [found, free] = stripe.held.try_emplace(name);
    if (!free) {
      found->second.push_back(request);
      return;
    }
    ++request->held;
  }
  request->then(Hold(this, std::move(request->names)));
}

void Latches::Release(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::shared_ptr<Request> next;
    {
      Stripe& stripe = StripeOf(name);
      std::lock_guard lock(stripe.mutex);
      auto found = stripe.held.find(name);
      if (found->second.empty()) {
        stripe.held.erase(found);
        continue;
      }
      next = std::move(found->second.front());  // the latch passes over without being free in between
      found->second.pop_front();
    }
    ++next->held;
    // Full or stopping: rather here than never.
    if (!executor_->Post([this, next] { Advance(next); })) AdvanceHere(std::move(next));
  }
}

void Latches::AdvanceHere(std::shared_ptr<Request> request) {
  // A waiter that ends at once, as each does at a stop, releases in turn. The thread's outermost call works off what
  // that brings: nested, the stack would end before those who wait for a busy document.
  using Waiting = std::deque<std::pair<Latches*, std::shared_ptr<Request>>>;
  thread_local Waiting* outermost = nullptr;
  if (outermost != nullptr) {
    outermost->emplace_back(this, std::move(request));
    return;
  }
  Waiting waiting;
  waiting.emplace_back(this, std::move(request));
  outermost = &waiting;
  while (!waiting.empty()) {
    const auto [latches, next] = std::move(waiting.front());
    waiting.pop_front();
    latches->Advance(next);
  }
  outermost = nullptr;
}

size_t Latches::waiting() const {
  size_t count = 0;
  for (const Stripe& stripe : stripes_) {
    std::lock_guard lock(stripe.mutex);
    for (const auto& [name, waiters] : stripe.held) count += waiters.size();
  }
  return count;
}

}  // namespace terrane::shard
