#include "simulation/system_fiber.h"

#include <cstdint>
#include <vector>

#include "raft/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace terrane::simulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;
Fiber* current = nullptr;

// Before the stack is changed to [bottom, size); `save` keeps what the one that is left needs, nullptr if it ends.
void StartSwitch([[maybe_unused]] void** save, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}
void FinishSwitch([[maybe_unused]] void* saved, [[maybe_unused]] const void** bottom, [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(saved, bottom, size);
#endif
}

}  // namespace

// Stacks are used again: a run has many fibers.
struct Fiber::Stack {
  Stack() {
    if (Free().empty()) {
      bytes = std::make_unique<char[]>(kStackBytes);
    } else {
      bytes = std::move(Free().back());
      Free().pop_back();
    }
  }
  ~Stack() { Free().push_back(std::move(bytes)); }
  static std::vector<std::unique_ptr<char[]>>& Free() {
    static std::vector<std::unique_ptr<char[]>> free;
    return free;
  }
  std::unique_ptr<char[]> bytes;
};

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {}

Fiber::~Fiber() {
  TERRANE_RAFT_CHECK(!started_ || ended_, "a fiber goes when it has ended");
}

Fiber* Fiber::Current() {
  return current;
}

void Fiber::Main(unsigned low, unsigned high) {
  reinterpret_cast<Fiber*>(static_cast<uintptr_t>(low) | static_cast<uintptr_t>(high) << 32)->Enter();
}

void Fiber::Enter() {
  FinishSwitch(nullptr, &resumer_stack_, &resumer_size_);
  body_();
  body_ = nullptr;
  ended_ = true;
  StartSwitch(nullptr, resumer_stack_, resumer_size_);
  swapcontext(&own_, &resumer_);
}

void Fiber::Resume() {
  TERRANE_RAFT_CHECK(current == nullptr && !ended_, "a fiber is resumed from outside, until it ends");
  if (!started_) {
    started_ = true;
    stack_ = std::make_unique<Stack>();
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_->bytes.get();
    own_.uc_stack.ss_size = kStackBytes;
    own_.uc_link = nullptr;
    const auto self = reinterpret_cast<uintptr_t>(this);
    makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::Main), 2, static_cast<unsigned>(self),
                static_cast<unsigned>(self >> 32));
  }
  current = this;
  void* save = nullptr;
  StartSwitch(&save, stack_->bytes.get(), kStackBytes);
  swapcontext(&resumer_, &own_);
  FinishSwitch(save, nullptr, nullptr);
  current = nullptr;
  if (ended_) stack_.reset();
}

void Fiber::Suspend() {
  Fiber* self = current;
  StartSwitch(&self->fake_stack_, self->resumer_stack_, self->resumer_size_);
  swapcontext(&self->own_, &self->resumer_);
  FinishSwitch(self->fake_stack_, &self->resumer_stack_, &self->resumer_size_);
}

}  // namespace terrane::simulation
