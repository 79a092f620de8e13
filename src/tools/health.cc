#include "tools/health.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <string_view>

#include "common/status.h"
#include "rpc/channel.h"
#include "rpc/status.h"

namespace terrane::tools {
namespace {

// HealthCheckResponse{status = SERVING} on the wire. Debian ships no generated stub of this service, and two bytes need
// none; the request for the whole process is an empty message.
constexpr std::string_view kServing("\x08\x01", 2);

}  // namespace

absl::Status CheckHealth(const std::string& endpoint, std::chrono::milliseconds limit) {
  rpc::ChannelOptions options;
  options.own_connection = true;  // a connection that others share may be waiting for its next try
  grpc::GenericStub stub(rpc::MakeChannel(endpoint, options));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + limit);
  grpc::CompletionQueue queue;
  grpc::ByteBuffer request, response;
  const grpc::Slice empty;
  request = grpc::ByteBuffer(&empty, 1);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, &queue);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (!status.ok()) return rpc::FromGrpc(status);
  grpc::Slice bytes;
  if (!response.DumpToSingleSlice(&bytes).ok() ||
      std::string_view(reinterpret_cast<const char*>(bytes.begin()), bytes.size()) != kServing) {
    return Unavailable(endpoint, " says that it is not serving");
  }
  return absl::OkStatus();
}

}  // namespace terrane::tools
