#include <cstdio>
#include <memory>

#include "echo.grpc.pb.h"
#include "echo.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/unary.h"

namespace terrane::bench {
namespace {

class FrontService : public Echo::CallbackService {
 public:
  explicit FrontService(const std::string& back) : stub_(Echo::NewStub(rpc::MakeChannel(back))) {}
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const EchoRequest* request,
                                 EchoResponse* response) override {
    return rpc::RunUnary(context, nullptr, [=, this](const rpc::Call&, rpc::Done done) {
      auto onward = std::make_shared<grpc::ClientContext>();
      stub_->async()->Call(onward.get(), request, response,
                           [onward, done = std::move(done)](grpc::Status status) { done(rpc::FromGrpc(status)); });
    });
  }

 private:
  std::unique_ptr<Echo::Stub> stub_;
};

}  // namespace

int RunEchoFront(const std::string& back) {
  FrontService service(back);
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
