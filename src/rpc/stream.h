// Handlers of server-streaming calls over gRPC's callback API. Includes gRPC: for the .cc files that implement a
// service.
//
//   grpc::ServerWriteReactor<Event>* Watch(grpc::CallbackServerContext* context, const WatchRequest* request) override
//   {
//     return rpc::RunStream<Event>(context, &executor_, [=, this](std::shared_ptr<rpc::ServerStream<Event>> stream) {
//       while (more && stream->Write(next)) {}
//       stream->Finish(absl::OkStatus());
//     });
//   }
//
// One write is under way at a time (a second StartWrite aborts the process); the rest waits in a bounded buffer.
// The request lives until Finish is called; copy what is needed longer.
#pragma once

#include <condition_variable>
#include <deque>

#include "rpc/unary.h"

namespace terrane::rpc {

// Thread-safe. Kept alive by gRPC until the stream is over and by whoever holds the pointer. Must be finished, also
// after a cancellation.
template <typename Response>
class ServerStream : public std::enable_shared_from_this<ServerStream<Response>> {
 public:
  static constexpr size_t kBufferBytes = 4 * 1024 * 1024;

  // Blocks while the buffer is full: for workers, never in a callback. False: cancelled, or finished; stop.
  bool Write(Response message) {
    std::unique_lock lock(mutex_);
    writable_.wait(lock, [this] { return ended_ || buffered_ < kBufferBytes; });
    if (ended_) return false;
    Enqueue(std::move(message), nullptr, lock);
    return true;
  }

  // Never blocks. False: cancelled or finished, or the client is too slow and the buffer full.
  bool TryWrite(Response message) {
    std::unique_lock lock(mutex_);
    if (ended_ || buffered_ >= kBufferBytes) return false;
    Enqueue(std::move(message), nullptr, lock);
    return true;
  }

  // Never blocks, buffers whatever its size; then(ok) is called when the message is on its way to the client, or with
  // false when it will never be. In a gRPC callback, or here.
  void WriteThen(Response message, std::function<void(bool)> then) {
    {
      std::unique_lock lock(mutex_);
      if (!ended_) {
        Enqueue(std::move(message), std::move(then), lock);
        return;
      }
    }
    then(false);
  }

  // Ends the stream behind what is buffered. Only the first call counts.
  void Finish(absl::Status status) {
    std::unique_lock lock(mutex_);
    if (finish_) return;
    finish_ = std::move(status);
    ended_ = true;
    writable_.notify_all();
    FinishIfIdle(lock);
  }

  // The last message and the end, in one operation when nothing else waits. The message is not sent unless the status
  // is OK.
  void WriteAndFinish(Response message, absl::Status status) {
    {
      std::unique_lock lock(mutex_);
      if (finish_) return;
      if (!writing_ && queue_.empty() && !ended_) {
        finish_ = std::move(status);
        ended_ = finished_ = true;
        on_cancel_ = nullptr;
        writable_.notify_all();
        last_ = std::move(message);
        const grpc::Status wire = ToGrpc(*finish_);
        call_.AddTrailers();
        lock.unlock();
        reactor_->StartWriteAndFinish(&last_, grpc::WriteOptions(), wire);
        return;
      }
    }
    if (status.ok()) WriteThen(std::move(message), [](bool) {});
    Finish(std::move(status));
  }

  // `fn` runs once, when the client goes away or the server shuts down (at once if it has), unless the stream was
  // finished before. In a gRPC callback: must not block.
  void OnCancel(std::function<void()> fn) {
    {
      std::lock_guard lock(mutex_);
      if (!call_.cancelled()) {
        on_cancel_ = std::move(fn);
        return;
      }
    }
    fn();
  }

  const Call& call() const { return call_; }
  bool cancelled() const { return call_.cancelled(); }

  // For RunStream.
  class Reactor final : public grpc::ServerWriteReactor<Response> {
   public:
    explicit Reactor(std::shared_ptr<ServerStream> stream) : stream_(std::move(stream)) {}
    void OnWriteDone(bool ok) override { stream_->Written(ok); }
    void OnCancel() override { stream_->Cancelled(); }
    void OnDone() override { delete this; }

   private:
    std::shared_ptr<ServerStream> stream_;
  };
  explicit ServerStream(grpc::CallbackServerContext* context) : call_(context) {}
  void Attach(Reactor* reactor) { reactor_ = reactor; }

 private:
  struct Item {
    Response message;
    size_t bytes;
    std::function<void(bool)> then;
  };

  void Enqueue(Response message, std::function<void(bool)> then, std::unique_lock<std::mutex>& lock) {
    const size_t bytes = message.ByteSizeLong() + 64;
    buffered_ += bytes;
    queue_.push_back({std::move(message), bytes, std::move(then)});
    if (!writing_) StartNext(lock);
  }

  // Called with the lock; releases it: StartWrite may call back on this thread.
  void StartNext(std::unique_lock<std::mutex>& lock) {
    writing_ = true;
    const Response* message = &queue_.front().message;
    lock.unlock();
    reactor_->StartWrite(message);
  }

  void Written(bool ok) {
    std::unique_lock lock(mutex_);
    std::deque<Item> over;
    over.push_back(std::move(queue_.front()));
    queue_.pop_front();
    buffered_ -= over.front().bytes;
    writing_ = false;
    if (!ok) {
      ended_ = true;
      for (Item& item : queue_) over.push_back(std::move(item));
      queue_.clear();
      buffered_ = 0;
    }
    writable_.notify_all();
    if (!queue_.empty()) {
      StartNext(lock);
    } else {
      FinishIfIdle(lock);
    }
    if (lock.owns_lock()) lock.unlock();
    for (Item& item : over) {
      if (item.then) item.then(ok);
    }
  }

  void Cancelled() {
    std::function<void()> on_cancel;
    {
      std::lock_guard lock(mutex_);
      call_.MarkCancelled();
      ended_ = true;
      if (!finish_) on_cancel = std::move(on_cancel_);
      on_cancel_ = nullptr;
      writable_.notify_all();
    }
    if (on_cancel) on_cancel();
  }

  void FinishIfIdle(std::unique_lock<std::mutex>& lock) {
    if (!finish_ || writing_ || !queue_.empty() || finished_) return;
    finished_ = true;
    on_cancel_ = nullptr;
    const grpc::Status status = ToGrpc(*finish_);
    call_.AddTrailers();
    lock.unlock();
    reactor_->Finish(status);
  }

  Call call_;
  Reactor* reactor_ = nullptr;  // valid until finished_
  std::mutex mutex_;
  std::condition_variable writable_;
  std::deque<Item> queue_;  // the first is being written while writing_
  Response last_;           // of WriteAndFinish
  size_t buffered_ = 0;
  bool writing_ = false;
  bool ended_ = false;  // nothing more is taken
  bool finished_ = false;
  std::optional<absl::Status> finish_;
  std::function<void()> on_cancel_;
};

// Runs fn(std::shared_ptr<ServerStream<Response>>) on the executor; with a null executor right in the callback, where
// it must not block.
template <typename Response, typename Fn>
grpc::ServerWriteReactor<Response>* RunStream(grpc::CallbackServerContext* context, Executor* executor, Fn fn) {
  auto stream = std::make_shared<ServerStream<Response>>(context);
  auto* reactor = new typename ServerStream<Response>::Reactor(stream);
  stream->Attach(reactor);
  if (executor == nullptr) {
    fn(std::move(stream));
  } else if (!executor->Post([stream, fn = std::move(fn)]() mutable { fn(std::move(stream)); })) {
    stream->Finish(Unavailable("too many requests are waiting here; try again"));
  }
  return reactor;
}

}  // namespace terrane::rpc
