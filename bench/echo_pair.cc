#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "common/status.h"
#include "echo.grpc.pb.h"
#include "echo.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace terrane::bench {
namespace {

// A child that runs this very program, prints one line and lives until its standard input ends.
class Child {
 public:
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& arguments) {
    int to_child[2], from_child[2];
    if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0) return Internal("pipe failed");
    const pid_t pid = fork();
    if (pid < 0) return Internal("fork failed");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(to_child[0], STDIN_FILENO);
      dup2(from_child[1], STDOUT_FILENO);
      std::vector<char*> argv = {const_cast<char*>("/proc/self/exe")};
      for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
      argv.push_back(nullptr);
      execv("/proc/self/exe", argv.data());
      _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    std::unique_ptr<Child> child(new Child(pid, to_child[1]));
    char c;
    while (read(from_child[0], &c, 1) == 1 && c != '\n') child->line_.push_back(c);
    close(from_child[0]);
    if (child->line_.empty()) return Internal("an echo process did not start");
    return child;
  }
  ~Child() {
    close(input_);
    waitpid(pid_, nullptr, 0);
  }
  const std::string& line() const { return line_; }

 private:
  Child(pid_t pid, int input) : pid_(pid), input_(input) {}
  const pid_t pid_;
  const int input_;
  std::string line_;
};

class Processes : public EchoPair {
 public:
  Processes(std::unique_ptr<Child> back, std::unique_ptr<Child> front)
      : back_(std::move(back)), front_(std::move(front)) {}
  const std::string& endpoint() const override { return front_->line(); }

 private:
  std::unique_ptr<Child> back_;  // ends after the front
  std::unique_ptr<Child> front_;
};

class StubClient : public EchoClient {
 public:
  explicit StubClient(const std::string& endpoint)
      : stub_(Echo::NewStub(rpc::MakeChannel(endpoint, {.own_connection = true}))) {}
  absl::Status Call(const std::string& payload, bool sync) override {
    EchoRequest request;
    request.set_payload(payload);
    request.set_sync(sync);
    EchoResponse response;
    grpc::ClientContext context;
    return rpc::FromGrpc(stub_->Call(&context, request, &response));
  }

 private:
  std::unique_ptr<Echo::Stub> stub_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EchoPair>> EchoPair::Start(const std::string& directory,
                                                          std::chrono::milliseconds sync_delay) {
  TERRANE_ASSIGN_OR_RETURN(auto back,
                           Child::Start({"echo-back", directory + "/echo.data", StrCat(sync_delay.count())}));
  TERRANE_ASSIGN_OR_RETURN(auto front, Child::Start({"echo-front", back->line()}));
  return std::make_unique<Processes>(std::move(back), std::move(front));
}

std::unique_ptr<EchoClient> EchoClient::Connect(const std::string& endpoint) {
  return std::make_unique<StubClient>(endpoint);
}

}  // namespace terrane::bench
