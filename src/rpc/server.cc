#include "rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <mutex>

#include "common/status.h"
#include "rpc/tls_files.h"

namespace terrane::rpc {
namespace {

// Reflection and health are switches of the whole process, to be set before the first server is built.
void EnablePlugins() {
  static const bool once = [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)once;
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(const TlsFiles& tls) {
  if (tls.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(tls.ca.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  TERRANE_ASSIGN_OR_RETURN(options.pem_root_certs, ReadPem(tls.ca));
  grpc::SslServerCredentialsOptions::PemKeyCertPair pair;
  TERRANE_ASSIGN_OR_RETURN(pair.cert_chain, ReadPem(tls.certificate));
  TERRANE_ASSIGN_OR_RETURN(pair.private_key, ReadPem(tls.key));
  options.pem_key_cert_pairs.push_back(std::move(pair));
  return grpc::SslServerCredentials(options);
}

void SetArguments(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 64 * 1024);
  // Half-open links are found by pings from both ends; clients may ping as often as ours do (channel.cc).
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
}

}  // namespace

struct Server::Impl {
  std::string address;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
  std::mutex shutdown_mutex;
  bool shut_down = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      const std::vector<grpc::Service*>& services) {
  TERRANE_RETURN_IF_ERROR(CheckListenAddress(options.address, options.tls, options.insecure));
  TERRANE_ASSIGN_OR_RETURN(auto credentials, Credentials(options.tls));
  EnablePlugins();
  grpc::ServerBuilder builder;
  SetArguments(builder);
  auto impl = std::make_unique<Impl>();
  builder.AddListeningPort(options.address, credentials, &impl->port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || (impl->port == 0 && !options.address.starts_with("unix:"))) {
    return Unavailable("can not listen on ", options.address, "; is the port in use?");
  }
  impl->address = impl->port == 0 ? options.address
                                  : StrCat(options.address.substr(0, options.address.rfind(':')), ":", impl->port);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() {
  Shutdown(std::chrono::seconds(1));
}

const std::string& Server::address() const {
  return impl_->address;
}
int Server::port() const {
  return impl_->port;
}

void Server::SetServing(bool serving) {
  if (auto* health = impl_->server->GetHealthCheckService()) health->SetServingStatus(serving);
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  return impl_->server->InProcessChannel(arguments);
}

void Server::Shutdown(std::chrono::milliseconds grace) {
  std::lock_guard lock(impl_->shutdown_mutex);
  if (impl_->shut_down) return;
  impl_->shut_down = true;
  SetServing(false);
  impl_->server->Shutdown(std::chrono::system_clock::now() + grace);
  impl_->server->Wait();
}

}  // namespace terrane::rpc
