#include <vector>

#include "client/client.h"
#include "document/builder.h"
#include "echo.h"
#include "load.h"
#include "sections.h"

namespace terrane::bench {
namespace {

constexpr const char* kCollection = "bench.points";
constexpr int kDocuments = 20'000;
constexpr size_t kPayloadBytes = 512;

std::string Document(int64_t n) {
  return document::Builder()
      .Append("_id", n)
      .Append("v", int64_t{0})
      .Append("pad", std::string(kPayloadBytes, 'p'))
      .Finish();
}

std::string ById(int64_t n) {
  return document::Builder().Append("_id", n).Finish();
}

absl::Status Fill(const std::string& proxy) {
  TERRANE_ASSIGN_OR_RETURN(auto client,
                           client::Client::Connect({.proxies = {proxy}, .deadline = std::chrono::seconds(20)}));
  terrane::v1::CreateCollectionRequest create;
  create.set_name(kCollection);
  TERRANE_RETURN_IF_ERROR(client->CreateCollection(create).status());
  for (int begin = 0; begin < kDocuments; begin += 500) {
    std::vector<std::string> batch;
    for (int n = begin; n < begin + 500; ++n) batch.push_back(Document(n));
    TERRANE_RETURN_IF_ERROR(client->Insert(kCollection, batch).status());
  }
  return absl::OkStatus();
}

class Loads {
 public:
  Loads(const BenchOptions& options, std::string proxy, std::string echo)
      : options_(options), proxy_(std::move(proxy)), echo_(std::move(echo)) {}

  absl::StatusOr<LoadResult> Reads(int clients) {
    TERRANE_ASSIGN_OR_RETURN(const auto connections, Connect(clients));
    return Run(clients, [&](int number, int64_t sequence) -> absl::Status {
      const int64_t n = (sequence * 7919 + number * 131) % kDocuments;
      const auto found = connections[static_cast<size_t>(number)]->FindOne(kCollection, ById(n));
      if (found.ok() && !*found) return Internal("document ", n, " is gone");
      return found.status();
    });
  }
  absl::StatusOr<LoadResult> Writes(int clients) {
    TERRANE_ASSIGN_OR_RETURN(const auto connections, Connect(clients));
    return Run(clients, [&](int number, int64_t sequence) -> absl::Status {
      // Whole documents, so that as many bytes travel and are synced as in the echo.
      return connections[static_cast<size_t>(number)]
          ->Insert(kCollection, {Document(kDocuments + number * int64_t{1'000'000'000} + sequence + epoch_)})
          .status();
    });
  }
  absl::StatusOr<LoadResult> Echo(int clients, bool sync) {
    std::vector<std::unique_ptr<EchoClient>> connections;
    for (int i = 0; i < clients; ++i) connections.push_back(EchoClient::Connect(echo_));
    const std::string payload = Document(1);
    return Run(clients,
               [&](int number, int64_t) { return connections[static_cast<size_t>(number)]->Call(payload, sync); });
  }

 private:
  absl::StatusOr<LoadResult> Run(int clients, const LoadCall& call) {
    epoch_ += 50'000'000;  // ids of this run
    return RunLoad(clients, options_.WarmUp(), options_.Length(), call);
  }
  absl::StatusOr<std::vector<std::unique_ptr<client::Client>>> Connect(int clients) {
    std::vector<std::unique_ptr<client::Client>> connections;
    for (int i = 0; i < clients; ++i) {
      TERRANE_ASSIGN_OR_RETURN(auto client, client::Client::Connect({.proxies = {proxy_}}));
      connections.push_back(std::move(client));
    }
    return connections;
  }

  const BenchOptions& options_;
  const std::string proxy_;
  const std::string echo_;
  int64_t epoch_ = 0;
};

void AddRows(Table* table, const std::string& section, const LoadResult& ours, const LoadResult& echo,
             const std::string& limit_name) {
  table->Add({section, "throughput", ours.calls_per_second, "calls/s", echo.calls_per_second, limit_name, ""});
  table->Add({section, "p50", ours.p50_ms, "ms", echo.p50_ms, limit_name, ""});
  table->Add({section, "p99", ours.p99_ms, "ms", echo.p99_ms, limit_name, ""});
}

}  // namespace

absl::Status BenchRequests(const BenchOptions& options, Table* table) {
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "requests", 1));
  TERRANE_ASSIGN_OR_RETURN(const auto echo, EchoPair::Start(options.directory, std::chrono::milliseconds(0)));
  TERRANE_RETURN_IF_ERROR(Fill(cluster->ProxyEndpoints().front()));
  Loads loads(options, cluster->ProxyEndpoints().front(), echo->endpoint());
  for (const int clients : {1, 16}) {
    TERRANE_ASSIGN_OR_RETURN(const LoadResult bare, loads.Echo(clients, false));
    TERRANE_ASSIGN_OR_RETURN(const LoadResult reads, loads.Reads(clients));
    AddRows(table, StrCat("point read, ", clients, " clients"), reads, bare, "two-hop echo");
    TERRANE_ASSIGN_OR_RETURN(const LoadResult synced, loads.Echo(clients, true));
    TERRANE_ASSIGN_OR_RETURN(const LoadResult writes, loads.Writes(clients));
    AddRows(table, StrCat("durable write, ", clients, " clients"), writes, synced, "two-hop echo with sync");
  }
  return absl::OkStatus();
}

absl::Status BenchReplicas(const BenchOptions& options, Table* table) {
  TERRANE_ASSIGN_OR_RETURN(const auto one, StartCluster(options, "replicas-1", 1));
  TERRANE_ASSIGN_OR_RETURN(const auto three, StartCluster(options, "replicas-3", 1, {}, 1, /*replicas=*/3));
  TERRANE_RETURN_IF_ERROR(Fill(one->ProxyEndpoints().front()));
  TERRANE_RETURN_IF_ERROR(Fill(three->ProxyEndpoints().front()));
  Loads on_one(options, one->ProxyEndpoints().front(), "");
  Loads on_three(options, three->ProxyEndpoints().front(), "");
  for (const int clients : {1, 16, 64}) {
    TERRANE_ASSIGN_OR_RETURN(const LoadResult alone, on_one.Writes(clients));
    TERRANE_ASSIGN_OR_RETURN(const LoadResult writes, on_three.Writes(clients));
    TERRANE_ASSIGN_OR_RETURN(const double host, RaftHostRate(options, clients, Document(1).size()));
    const std::string section = StrCat("durable write, 3 replicas, ", clients, " cl.");
    AddRows(table, section, writes, alone, "1 replica");
    table->Add({section, "of the bare host", writes.calls_per_second, "calls/s", host, "Raft host, same bytes", ""});
  }
  return absl::OkStatus();
}

absl::Status BenchSlowSyncs(const BenchOptions& options, Table* table) {
  constexpr std::chrono::milliseconds kSync{4};
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "slow", 1, {"--test-sync-delay=4ms"}));
  TERRANE_ASSIGN_OR_RETURN(const auto echo, EchoPair::Start(options.directory, kSync));
  TERRANE_RETURN_IF_ERROR(Fill(cluster->ProxyEndpoints().front()));
  Loads loads(options, cluster->ProxyEndpoints().front(), echo->endpoint());
  for (const int clients : {1, 16, 64}) {
    TERRANE_ASSIGN_OR_RETURN(const LoadResult synced, loads.Echo(clients, true));
    TERRANE_ASSIGN_OR_RETURN(const LoadResult writes, loads.Writes(clients));
    AddRows(table, StrCat("durable write, sync 4 ms, ", clients, " cl."), writes, synced, "echo with the same sync");
  }
  return absl::OkStatus();
}

}  // namespace terrane::bench
