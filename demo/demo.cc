#include "demo.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "client/client.h"
#include "common/units.h"
#include "common/version.h"
#include "document/builder.h"
#include "document/value.h"
#include "loader.h"
#include "moves.h"
#include "orders.h"
#include "packages.h"
#include "recount.h"
#include "screen.h"
#include "tools/local_cluster.h"
#include "traffic.h"

namespace terrane::demo {
namespace {

using terrane::v1::Chunk;
using terrane::v1::Migration;

constexpr const char* kOrders = "shop.orders";
constexpr const char* kPackages = "debian.packages";
constexpr std::chrono::seconds kAdminDeadline{20};
constexpr std::chrono::milliseconds kScreenInterval{500};

Percentiles Summarize(const Latencies& latencies) {
  return {latencies.Percentile(0.5), latencies.Percentile(0.99), latencies.Percentile(1)};
}

std::string Seconds(DemoClock::time_point since) {
  return absl::StrFormat("%.1f s", Milliseconds(DemoClock::now() - since) / 1000);
}

std::string StageName(Migration::Stage stage) {
  std::string name = Migration::Stage_Name(stage);
  std::transform(name.begin(), name.end(), name.begin(), [](char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

// One run; its steps in their order.
class Demo {
 public:
  Demo(const DemoOptions& options, const std::atomic<bool>& cancelled) : options_(options), cancelled_(cancelled) {}

  absl::StatusOr<Report> Run() {
    const auto start = DemoClock::now();
    TERRANE_RETURN_IF_ERROR(StartCluster());
    TERRANE_RETURN_IF_ERROR(Load());
    TERRANE_RETURN_IF_ERROR(RunTraffic());
    if (!options_.plant.empty()) TERRANE_RETURN_IF_ERROR(Plant());
    TERRANE_RETURN_IF_ERROR(CountAgain());
    TERRANE_RETURN_IF_ERROR(Check());
    report_.wall_seconds = Milliseconds(DemoClock::now() - start) / 1000;
    report_.commit = GitCommit();
    TERRANE_ASSIGN_OR_RETURN(const int killed, cluster_->Stop());
    if (killed > 0) problems_.Error(StrCat(killed, " processes had to be killed"));
    report_.client_errors = problems_.errors.load();
    report_.retries = problems_.retries.load();
    return report_;
  }

 private:
  struct PlannedMove {
    size_t chunk;  // of the orders, in key order
    std::string to;
  };

  absl::Status Interrupted() const { return cancelled_ ? absl::CancelledError("interrupted") : absl::OkStatus(); }
  int64_t OrderCount() const { return options_.quick ? 50'000 : 1'000'000; }
  std::filesystem::path JournalDirectory() const { return options_.directory / "journals"; }

  absl::Status StartCluster() {
    const auto start = DemoClock::now();
    tools::LocalClusterOptions cluster;
    cluster.directory = options_.directory / "cluster";
    cluster.shards = 2;
    cluster.metadata = 3;
    cluster.tied = true;
    cluster.programs = options_.programs;
    std::filesystem::create_directories(cluster.directory);
    std::filesystem::create_directories(JournalDirectory());
    TERRANE_ASSIGN_OR_RETURN(cluster_, tools::LocalCluster::Start(std::move(cluster)));
    proxy_ = cluster_->ProxyEndpoints().front();
    TERRANE_ASSIGN_OR_RETURN(admin_, client::Client::Connect({.proxies = {proxy_}, .deadline = kAdminDeadline}));
    screen_.Say(StrCat("cluster is up in ", Seconds(start), ": 3 metadata nodes, 2 shards, 1 proxy at ", proxy_));
    return Interrupted();
  }

  absl::Status CreateCollection(const char* name, const std::string& shard_key) {
    terrane::v1::CreateCollectionRequest request;
    request.set_name(name);
    request.set_shard_key(shard_key);
    TERRANE_ASSIGN_OR_RETURN(const auto created, admin_->CreateCollection(request));
    screen_.Say(StrCat(name, ": ", created.chunks_size(), " chunks"));
    return absl::OkStatus();
  }

  // `total` 0: unknown.
  absl::Status LoadWithProgress(const char* collection, int64_t total, const std::function<bool(std::string*)>& next) {
    const auto start = DemoClock::now();
    std::atomic<int64_t> loaded{0};
    absl::Status result;
    std::mutex mutex;
    std::condition_variable done;
    bool ended = false;
    std::thread loader([&] {
      const absl::Status status = LoadDocuments({.proxy = proxy_, .collection = collection}, next, &loaded, cancelled_);
      std::lock_guard lock(mutex);
      result = status;
      ended = true;
      done.notify_all();
    });
    {
      std::unique_lock lock(mutex);
      while (!done.wait_for(lock, kScreenInterval, [&] { return ended; })) {
        const double seconds = Milliseconds(DemoClock::now() - start) / 1000;
        const double fraction = total > 0 ? static_cast<double>(loaded) / static_cast<double>(total) : 0;
        screen_.Progress(absl::StrFormat("%s  %s  %d documents   %.0f/s", collection, Screen::Bar(fraction),
                                         loaded.load(), static_cast<double>(loaded) / seconds));
      }
    }
    loader.join();
    TERRANE_RETURN_IF_ERROR(Annotate(result, StrCat("loading ", collection)));
    report_.documents += loaded;
    screen_.Say(
        absl::StrFormat("%s: %s documents loaded in %s", collection, FormatCount(loaded.load()), Seconds(start)));
    return absl::OkStatus();
  }

  absl::Status Load() {
    TERRANE_RETURN_IF_ERROR(CreateCollection(kPackages, document::Builder().Append("_id", "hashed").Finish()));
    std::vector<std::string> packages;
    const size_t limit = options_.quick ? 3'000 : 1'000'000;
    const absl::StatusOr<int64_t> read = ReadPackageIndex([&](std::string document) {
      if (packages.size() < limit) packages.push_back(std::move(document));
      return Interrupted();
    });
    TERRANE_RETURN_IF_ERROR(read.status());
    size_t taken = 0;
    TERRANE_RETURN_IF_ERROR(
        LoadWithProgress(kPackages, static_cast<int64_t>(packages.size()), [&](std::string* document) {
          if (taken == packages.size()) return false;
          *document = packages[taken++];
          return true;
        }));
    package_count_ = static_cast<int64_t>(packages.size());
    TERRANE_RETURN_IF_ERROR(CreateCollection(kOrders, document::Builder().Append("customer", "hashed").Finish()));
    int64_t next = 0;
    return LoadWithProgress(kOrders, OrderCount(), [&](std::string* document) {
      if (next == OrderCount()) return false;
      *document = GeneratedOrder(next++);
      return true;
    });
  }

  // The chunks of the orders in key order, as they are now.
  absl::StatusOr<std::vector<Chunk>> Chunks() {
    TERRANE_ASSIGN_OR_RETURN(const auto listed, admin_->ListChunks(kOrders));
    std::vector<Chunk> chunks;
    for (const auto& info : listed.chunks()) chunks.push_back(info.chunk());
    std::sort(chunks.begin(), chunks.end(),
              [](const Chunk& a, const Chunk& b) { return a.range().min() < b.range().min(); });
    if (chunks.size() < 4) return Internal("expected at least 4 chunks of ", kOrders, ", found ", chunks.size());
    return chunks;
  }

  absl::Status RunTraffic() {
    Traffic traffic({.proxy = proxy_,
                     .collection = kOrders,
                     .journal_directory = JournalDirectory(),
                     .clients = options_.clients,
                     .generated = OrderCount(),
                     .seed = options_.seed},
                    &problems_);
    TERRANE_RETURN_IF_ERROR(traffic.Prepare());
    traffic.Start(&idle_);
    TERRANE_RETURN_IF_ERROR(Wait(std::chrono::seconds(options_.quick ? 3 : 10)));
    screen_.Say(absl::StrFormat("traffic: %d clients, %s reads and %s writes so far; now chunks move", options_.clients,
                                FormatCount(traffic.reads()), FormatCount(traffic.writes())));
    traffic.SetSink(&moving_);
    TERRANE_RETURN_IF_ERROR(MoveChunks());
    traffic.SetSink(nullptr);
    TERRANE_RETURN_IF_ERROR(traffic.Stop());
    report_.reads = traffic.reads();
    report_.idle_ms = Both(idle_);
    report_.moving_ms = Both(moving_);
    report_.write_pause_ms = Summarize(write_pauses_);
    report_.read_pause_ms = Summarize(read_pauses_);
    report_.switch_write_ms = Summarize(switches_);
    report_.copy_mb_per_s = copied_seconds_ > 0 ? copied_mb_ / copied_seconds_ : 0;
    return absl::OkStatus();
  }
  // The worse of reads and writes, which is what a limit on the foreground is about.
  static Percentiles Both(const LatencySink& sink) {
    return {std::max(sink.reads.Percentile(0.5), sink.writes.Percentile(0.5)),
            std::max(sink.reads.Percentile(0.99), sink.writes.Percentile(0.99)), 0};
  }

  // Traffic goes on for a while; ends early when interrupted.
  absl::Status Wait(std::chrono::milliseconds length) {
    const auto end = DemoClock::now() + length;
    while (!cancelled_ && DemoClock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return Interrupted();
  }

  static std::string Other(const std::string& shard) { return shard == "s1" ? "s2" : "s1"; }

  absl::Status MoveChunks() {
    TERRANE_ASSIGN_OR_RETURN(const std::vector<Chunk> chunks, Chunks());
    const auto home = [&](size_t i) { return chunks[i].shard(); };
    const size_t last = chunks.size() - 1;
    // Two at a time; the third pair brings chunk 0 back where it came from.
    TERRANE_RETURN_IF_ERROR(MoveTogether({{0, Other(home(0))}, {last, Other(home(last))}}));
    TERRANE_RETURN_IF_ERROR(MoveTogether({{1, Other(home(1))}, {2, Other(home(2))}}));
    TERRANE_RETURN_IF_ERROR(MoveTogether({{0, home(0)}, {last, home(last)}}));
    const auto start = DemoClock::now();
    TERRANE_ASSIGN_OR_RETURN(const std::string third, cluster_->AddShard());
    screen_.Say(StrCat("shard ", third, " added in ", Seconds(start)));
    TERRANE_RETURN_IF_ERROR(MoveTogether({{0, third}, {3, third}}));
    return MoveTogether({{1, third}, {last, third}});
  }

  absl::Status MoveTogether(const std::vector<PlannedMove>& moves) {
    TERRANE_RETURN_IF_ERROR(Interrupted());
    TERRANE_ASSIGN_OR_RETURN(const std::vector<Chunk> chunks, Chunks());
    std::vector<std::thread> threads;
    std::mutex mutex;
    absl::Status failure;
    for (const PlannedMove& move : moves) {
      const int number = ++moves_started_;
      threads.emplace_back([&, move, number, chunk = chunks[move.chunk]] {
        const absl::Status status = MoveOne(chunk, move.to, number);
        std::lock_guard lock(mutex);
        failure.Update(status);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return failure;
  }

  absl::Status MoveOne(const Chunk& chunk, const std::string& to, int number) {
    const auto start = DemoClock::now();
    const std::string label = StrCat("move ", number, "  ", chunk.shard(), " -> ", to);
    TERRANE_ASSIGN_OR_RETURN(
        const MoveOutcome outcome,
        RunMove(proxy_, kOrders, chunk, to, (JournalDirectory() / StrCat("probe-", number, ".journal")).string(),
                &problems_, cancelled_, [&](const terrane::v1::ShowMigrationResponse& shown) {
                  const auto& progress = shown.progress();
                  const double fraction = progress.bytes_total() > 0 ? static_cast<double>(progress.bytes_copied()) /
                                                                           static_cast<double>(progress.bytes_total())
                                                                     : 0;
                  screen_.Progress(absl::StrFormat("%s  %-11s %s", label, StageName(shown.migration().stage()),
                                                   Screen::Bar(fraction)));
                }));
    const auto& figures = outcome.migration.figures();
    write_pauses_.Add(outcome.write_pause_ms);
    read_pauses_.Add(outcome.read_pause_ms);
    switches_.Add(figures.write_pause_ms());
    {
      std::lock_guard lock(mutex_);
      ++report_.moves;
      report_.attempts_ended += outcome.migration.attempts_size();
      const auto& source = figures.source_digest();
      const auto& target = figures.target_digest();
      if (source.SerializeAsString() == target.SerializeAsString() && source.documents().count() > 0) {
        ++report_.digests_compared;
      }
      const double mb = static_cast<double>(figures.bytes()) / 1e6;
      if (figures.copy_mb_per_s() > 0) {
        copied_mb_ += mb;
        copied_seconds_ += mb / figures.copy_mb_per_s();
      }
    }
    screen_.Say(absl::StrFormat(
        "%s  done in %s   %s documents, %.1f MB at %.0f MB/s   writes held %.1f ms, reads %.1f ms   "
        "longest write of a client %.1f ms",
        label, Seconds(start), FormatCount(figures.documents()), static_cast<double>(figures.bytes()) / 1e6,
        figures.copy_mb_per_s(), figures.write_pause_ms(), figures.read_pause_ms(), outcome.write_pause_ms));
    return absl::OkStatus();
  }

  // Spoils order 0 in the data directory of the shard that owns it, while that shard is stopped.
  absl::Status Plant() {
    const std::string order = GeneratedOrder(0);
    const document::ShardKeyPattern pattern =
        *document::ShardKeyPattern::Parse(document::Builder().Append("customer", "hashed").Finish());
    TERRANE_ASSIGN_OR_RETURN(const std::string key, pattern.EncodeFromDocument(order));
    TERRANE_ASSIGN_OR_RETURN(const std::string id, document::EncodeIdFromDocument(order));
    TERRANE_ASSIGN_OR_RETURN(const std::vector<Chunk> chunks, Chunks());
    const auto owner = std::find_if(chunks.begin(), chunks.end(), [&](const Chunk& chunk) {
      return key >= chunk.range().min() && (chunk.range().unbounded() || key < chunk.range().max());
    });
    if (owner == chunks.end()) return Internal("nobody owns order 0");
    const std::string process = owner->shard() + "-a";
    TERRANE_RETURN_IF_ERROR(cluster_->StopProcess(process).status());
    TERRANE_ASSIGN_OR_RETURN(const tools::ProcessInfo info, cluster_->Process(process));
    TERRANE_RETURN_IF_ERROR(RunProgram({(options_.programs / "terrane-plant").string(), options_.plant,
                                        (info.directory / "data" / kStoreDirectory).string(), StrCat(owner->copy_id()),
                                        absl::BytesToHexString(key), absl::BytesToHexString(id)},
                                       {0})
                                .status());
    screen_.Say(StrCat("planted: order 0 is ", options_.plant, " on ", process));
    return cluster_->StartProcess(process);
  }

  absl::Status CountAgain() {
    const auto start = DemoClock::now();
    TERRANE_ASSIGN_OR_RETURN(const Recount recount,
                             RunRecount(options_.source, proxy_, kOrders, OrderCount(), JournalDirectory()));
    TERRANE_ASSIGN_OR_RETURN(const int64_t packages,
                             admin_->Count(kPackages, "", {.deadline = std::chrono::minutes(5)}));
    report_.documents = recount.documents + packages;
    report_.acknowledged_writes = recount.acknowledged_writes + package_count_;
    report_.lost = recount.lost + std::max<int64_t>(0, package_count_ - packages);
    report_.duplicated = recount.duplicated + std::max<int64_t>(0, packages - package_count_);
    report_.wrong = recount.wrong + problems_.wrong_reads.load();
    report_.examples = recount.examples;
    for (const std::string& example : problems_.Examples()) report_.examples.push_back(example);
    screen_.Say(absl::StrFormat("recounted %s acknowledged writes against %s documents in %s",
                                FormatCount(recount.acknowledged_writes), FormatCount(recount.documents),
                                Seconds(start)));
    return Interrupted();
  }

  absl::Status Check() {
    const auto start = DemoClock::now();
    terrane::v1::CheckRequest request;
    std::string summary;
    TERRANE_ASSIGN_OR_RETURN(report_.check_findings, admin_->Check(request, [&](const terrane::v1::CheckEvent& event) {
      if (event.kind() == terrane::v1::CheckEvent::FINDING) {
        report_.examples.push_back("check: " + event.text());
      } else if (event.kind() == terrane::v1::CheckEvent::SUMMARY) {
        summary = event.text();
      } else {
        screen_.Progress("check: " + event.text());
      }
    }));
    screen_.Say(StrCat("check in ", Seconds(start), ": ", summary));
    return Interrupted();
  }

  // Where a shard's RocksDB is below its data directory.
  static constexpr const char* kStoreDirectory = "store";

  const DemoOptions& options_;
  const std::atomic<bool>& cancelled_;
  Screen screen_;
  TrafficProblems problems_;
  std::unique_ptr<tools::LocalCluster> cluster_;  // tied: its processes end with it
  std::string proxy_;
  std::unique_ptr<client::Client> admin_;
  LatencySink idle_;
  LatencySink moving_;
  Latencies write_pauses_;
  Latencies read_pauses_;
  Latencies switches_;
  int64_t package_count_ = 0;
  int moves_started_ = 0;
  std::mutex mutex_;  // guards what follows, and the report's counters of moves
  double copied_mb_ = 0;
  double copied_seconds_ = 0;
  Report report_;
};

}  // namespace

absl::StatusOr<Report> RunDemo(const DemoOptions& options, const std::atomic<bool>& cancelled) {
  return Demo(options, cancelled).Run();
}

}  // namespace terrane::demo
