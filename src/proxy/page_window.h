// How far a walk may run ahead of the client that reads its pages: up to a number of pages are on their way, the walk
// waits with the next one.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace terrane::proxy {

// Pages are written one after the other, in the order of the walk; that they have been written is said on any thread.
class PageWindow : public std::enable_shared_from_this<PageWindow> {
 public:
  using GoOn = std::function<void(bool)>;

  explicit PageWindow(int size) : size_(size) {}

  // write(written) hands the page on, never blocks, and has written(ok) called once, later or right there. Then, when
  // there is room for one more page, go_on(true), here or in a later written(); go_on(false) if a page could not be
  // written. Nothing of the walk is touched after go_on, which writes the next page.
  void Write(const std::function<void(GoOn written)>& write, GoOn go_on) {
    {
      std::lock_guard lock(mutex_);
      ++in_flight_;
    }
    write([self = shared_from_this()](bool ok) { self->Written(ok); });
    // Only now: whoever finds go_on_ runs on at once, and the next page would overtake this one.
    bool ok;
    {
      std::lock_guard lock(mutex_);
      ok = !broken_;
      if (ok && in_flight_ >= size_) {
        go_on_ = std::move(go_on);
        return;
      }
    }
    go_on(ok);
  }

 private:
  void Written(bool ok) {
    GoOn go_on;
    {
      std::lock_guard lock(mutex_);
      --in_flight_;
      broken_ = broken_ || !ok;
      go_on = std::exchange(go_on_, nullptr);
      ok = !broken_;
    }
    if (go_on) go_on(ok);
  }

  const int size_;
  std::mutex mutex_;
  int in_flight_ = 0;  // pages on their way to the client
  bool broken_ = false;
  GoOn go_on_;  // of the last page, while in_flight_ == size_
};

}  // namespace terrane::proxy
