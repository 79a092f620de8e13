// Code that blocks, in a simulation of one thread: it runs on a stack of its own, and where it would block it gives the
// thread back until somebody resumes it.
#pragma once

#include <ucontext.h>

#include <functional>
#include <memory>

namespace terrane::simulation {

class Fiber {
 public:
  // Does not run before the first Resume.
  explicit Fiber(std::function<void()> body);
  // REQUIRES: it never ran, or ended.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs it until it suspends or ends. Not from inside of a fiber.
  void Resume();
  bool ended() const { return ended_; }

  // From inside: gives the thread back to whoever resumed.
  static void Suspend();
  // The one that runs now; nullptr outside.
  static Fiber* Current();

 private:
  struct Stack;
  static void Main(unsigned low, unsigned high);
  void Enter();

  std::function<void()> body_;
  std::unique_ptr<Stack> stack_;
  ucontext_t own_{};
  ucontext_t resumer_{};
  bool started_ = false;
  bool ended_ = false;
  void* fake_stack_ = nullptr;           // of AddressSanitizer
  const void* resumer_stack_ = nullptr;  // likewise
  size_t resumer_size_ = 0;
};

}  // namespace terrane::simulation
