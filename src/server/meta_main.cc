// terrane-meta: one node of the chunk metadata service.
#include "common/version.h"
#include "metadata/server.h"
#include "server/server_main.h"

int main(int argc, char** argv) {
  using namespace terrane;
  server::CommonSettings common;
  server::GroupSettings group;
  CommandLine line("terrane-meta", "One node of Terrane's chunk metadata service", VersionLine("terrane-meta"));
  common.Define(&line);
  group.Define(&line);
  if (std::optional<int> exit = line.Parse(argc, argv)) return *exit;

  return server::Serve("terrane-meta", common, [&]() -> absl::StatusOr<server::RunningServer> {
    metadata::MetadataServerOptions options;
    TERRANE_ASSIGN_OR_RETURN(options.members, group.Members());
    options.directory = std::filesystem::path(common.directory) / "data";
    options.listen = common.listen;
    options.advertise = group.advertise;
    options.cluster = group.cluster;
    options.replica = ReplicaId(static_cast<uint64_t>(group.replica));
    options.tls = common.tls;
    options.insecure = common.insecure;
    options.timeouts = group.timeouts;
    TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<metadata::MetadataServer> server,
                             metadata::MetadataServer::Start(std::move(options)));
    return server::RunningServer{server->address(), [server] { server->Stop(); }};
  });
}
