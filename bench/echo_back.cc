#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"
#include "echo.h"
#include "rpc/server.h"
#include "rpc/unary.h"

namespace terrane::bench {
namespace {

// Group commit: whoever waits shares the next write and sync.
class SyncedFile {
 public:
  SyncedFile(const std::string& path, std::chrono::milliseconds delay)
      : fd_(open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600)),
        delay_(delay),
        thread_([this] { Run(); }) {}
  ~SyncedFile() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
    close(fd_);
  }
  void Append(const std::string& bytes, rpc::Done done) {
    std::lock_guard lock(mutex_);
    pending_.append(bytes);
    waiting_.push_back(std::move(done));
    wake_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::string bytes = std::move(pending_);
      const std::vector<rpc::Done> waiting = std::move(waiting_);
      pending_.clear();
      waiting_.clear();
      lock.unlock();
      const bool ok =
          write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && fdatasync(fd_) == 0;
      if (delay_.count() > 0) std::this_thread::sleep_for(delay_);  // stands for a slow disk
      for (const rpc::Done& done : waiting)
        done(ok ? absl::OkStatus() : DataLoss("the echo's file can not be written"));
      lock.lock();
    }
  }

  const int fd_;
  const std::chrono::milliseconds delay_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string pending_;
  std::vector<rpc::Done> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

class BackService : public Echo::CallbackService {
 public:
  explicit BackService(SyncedFile* file) : file_(file) {}
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const EchoRequest* request,
                                 EchoResponse* response) override {
    return rpc::RunUnary(context, nullptr, [=, this](const rpc::Call&, rpc::Done done) {
      response->set_payload(request->payload());
      if (request->sync()) {
        file_->Append(request->payload(), std::move(done));
      } else {
        done(absl::OkStatus());
      }
    });
  }

 private:
  SyncedFile* const file_;
};

}  // namespace

int RunEchoBack(const std::string& path, std::chrono::milliseconds sync_delay) {
  SyncedFile file(path, sync_delay);
  BackService service(&file);
  auto server = rpc::Server::Start({}, {&service});
  if (!server.ok()) return 1;
  std::printf("%s\n", (*server)->address().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  (*server)->Shutdown(std::chrono::seconds(1));
  return 0;
}

}  // namespace terrane::bench
