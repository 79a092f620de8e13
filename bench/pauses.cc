#include "chunk_moves.h"
#include "common/histogram.h"
#include "document/builder.h"
#include "probe.h"
#include "sections.h"

namespace terrane::bench {
namespace {

using BenchClock = std::chrono::steady_clock;
constexpr const char* kCollection = "bench.pauses";
constexpr int kDocuments = 2'000;

}  // namespace

absl::Status BenchPauses(const BenchOptions& options, Table* table) {
  const int moves = options.quick ? 10 : 100;
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "pauses", 2));
  const std::string proxy = cluster->ProxyEndpoints().front();
  TERRANE_ASSIGN_OR_RETURN(auto admin,
                           client::Client::Connect({.proxies = {proxy}, .deadline = std::chrono::seconds(20)}));
  TERRANE_RETURN_IF_ERROR(CreateCollection(admin.get(), kCollection, 1));
  std::vector<std::string> documents;
  for (int n = 0; n < kDocuments; ++n) {
    documents.push_back(document::Builder().Append("_id", n).Append("v", int64_t{0}).Finish());
  }
  TERRANE_RETURN_IF_ERROR(admin->Insert(kCollection, documents).status());

  TERRANE_ASSIGN_OR_RETURN(auto writer, client::Client::Connect({.proxies = {proxy}}));
  TERRANE_ASSIGN_OR_RETURN(auto reader, client::Client::Connect({.proxies = {proxy}}));
  const std::string raise = document::Builder().Append("$inc", document::Builder().Append("v", int64_t{1})).Finish();
  const auto by_id = [](int64_t n) { return document::Builder().Append("_id", n % kDocuments).Finish(); };
  Probe writes([&](int64_t n) { return writer->Update(kCollection, by_id(n), raise).status(); });
  Probe reads([&](int64_t n) { return reader->FindOne(kCollection, by_id(n)).status(); });

  Histogram write_pauses, read_pauses, fence_to_commit;  // microseconds
  const auto start = BenchClock::now();
  for (int move = 0; move < moves; ++move) {
    TERRANE_ASSIGN_OR_RETURN(const auto chunks, ChunksOf(admin.get(), kCollection));
    writes.Take();
    reads.Take();
    TERRANE_ASSIGN_OR_RETURN(const terrane::v1::Migration moved,
                             MoveAndWait(admin.get(), kCollection, chunks[0], chunks[0].shard() == "s1" ? "s2" : "s1"));
    write_pauses.Record(static_cast<uint64_t>(writes.Take()));
    read_pauses.Record(static_cast<uint64_t>(reads.Take()));
    fence_to_commit.Record(static_cast<uint64_t>(moved.figures().write_pause_ms() * 1000));
    TERRANE_RETURN_IF_ERROR(Annotate(writes.status(), "a write during a move"));
    TERRANE_RETURN_IF_ERROR(Annotate(reads.status(), "a read during a move"));
  }
  const double seconds = std::chrono::duration<double>(BenchClock::now() - start).count();
  const std::string section = StrCat("pause, ", moves, " moves");
  const std::string rate =
      StrCat(static_cast<int64_t>(static_cast<double>(writes.operations()) / seconds), " writes/s, ",
             static_cast<int64_t>(static_cast<double>(reads.operations()) / seconds), " reads/s on the chunk");
  const auto add = [&](const Histogram& pauses, const std::string& what, const std::string& note) {
    for (const auto& [name, fraction] : {std::pair("p50", 0.5), std::pair("p99", 0.99), std::pair("max", 1.0)}) {
      table->Add({section, StrCat(what, " ", name), static_cast<double>(pauses.Percentile(fraction)) / 1000, "ms",
                  std::nullopt, "", note});
    }
  };
  add(write_pauses, "longest write", rate);
  add(read_pauses, "longest read", rate);
  add(fence_to_commit, "fence to commit", "as the coordinator measures it");
  return absl::OkStatus();
}

}  // namespace terrane::bench
