// terrane-proxy: the stateless query router.
#include "common/version.h"
#include "proxy/server.h"
#include "server/server_main.h"

int main(int argc, char** argv) {
  using namespace terrane;
  server::CommonSettings common;
  proxy::ProxyServerOptions options;
  CommandLine line("terrane-proxy", "The stateless query router of Terrane", VersionLine("terrane-proxy"));
  common.Define(&line);
  line.Add("metadata", &options.metadata, "Endpoints of the metadata service: host:port,...");
  line.Require("metadata");
  line.Add("default-deadline", &options.default_deadline, "For requests that bear no deadline");
  line.Add("max-hold", &options.max_hold, "How long a request waits at most for a chunk that is being switched");
  line.Add("max-held-requests", &options.max_held_requests, 0, INT64_MAX, "How many wait at most");
  line.AddBytes("max-held-bytes", &options.max_held_bytes, "How many bytes of them");
  if (std::optional<int> exit = line.Parse(argc, argv)) return *exit;

  return server::Serve("terrane-proxy", common, [&]() -> absl::StatusOr<server::RunningServer> {
    TERRANE_RETURN_IF_ERROR(server::CheckEndpoints("--metadata", options.metadata));
    options.listen = common.listen;
    options.tls = common.tls;
    options.insecure = common.insecure;
    TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<proxy::ProxyServer> server, proxy::ProxyServer::Start(std::move(options)));
    return server::RunningServer{server->address(), [server] { server->Stop(); }};
  });
}
