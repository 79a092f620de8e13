#include "support/settings.h"

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "rpc/channel.h"
#include "rpc/status.h"
#include "terrane/v1/cluster.grpc.pb.h"

namespace terrane::test {

absl::Status SetSetting(const std::string& proxy, const std::string& name, const std::string& value) {
  const auto stub = terrane::v1::Cluster::NewStub(rpc::MakeChannel(proxy));
  terrane::v1::SetSettingRequest request;
  request.set_name(name);
  request.set_value(value);
  const auto end = std::chrono::system_clock::now() + std::chrono::seconds(30);
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(end);
    context.set_wait_for_ready(true);
    terrane::v1::SetSettingResponse response;
    const grpc::Status answer = stub->SetSetting(&context, request, &response);
    if (answer.error_code() != grpc::StatusCode::UNAVAILABLE || std::chrono::system_clock::now() > end) {
      return rpc::FromGrpc(answer);
    }
  }
}

}  // namespace terrane::test
