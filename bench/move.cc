#include <atomic>
#include <thread>

#include "chunk_moves.h"
#include "document/builder.h"
#include "document/shard_key.h"
#include "load.h"
#include "process_usage.h"
#include "sections.h"
#include "storage/store.h"

namespace terrane::bench {
namespace {

using BenchClock = std::chrono::steady_clock;
constexpr const char* kCollection = "bench.move";
constexpr size_t kPayloadBytes = 480;

double SecondsSince(BenchClock::time_point start) {
  return std::chrono::duration<double>(BenchClock::now() - start).count();
}

std::string Document(int64_t n) {
  std::string pad(kPayloadBytes, ' ');
  uint64_t state = static_cast<uint64_t>(n) * 6364136223846793005u + 1;
  for (char& c : pad) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>('a' + (state >> 33) % 26);
  }
  return document::Builder().Append("_id", n).Append("v", int64_t{0}).Append("pad", pad).Finish();
}

// Scan, SST files and ingest of the same documents by one thread, with nothing else: MB/s.
absl::StatusOr<double> PlainCopy(const std::filesystem::path& directory, int64_t documents) {
  const CopyId from(1), to(2);
  storage::StoreOptions source_options, target_options;
  source_options.directory = directory / "plain-source";
  target_options.directory = directory / "plain-target";
  TERRANE_ASSIGN_OR_RETURN(const auto source, storage::Store::Open(source_options));
  TERRANE_ASSIGN_OR_RETURN(const auto target, storage::Store::Open(target_options));
  const document::ShardKeyPattern by_id;
  const auto batch = source->NewBatch();
  for (int64_t n = 0; n < documents; ++n) {
    const std::string document = Document(n);
    TERRANE_ASSIGN_OR_RETURN(const std::string key, by_id.EncodeFromDocument(document));
    TERRANE_ASSIGN_OR_RETURN(const std::string id, document::EncodeIdFromDocument(document));
    batch->PutDocument(from, key, id, document);
    if (n % 1000 == 999 || n + 1 == documents) {
      TERRANE_RETURN_IF_ERROR(batch->Commit(Position(static_cast<uint64_t>(n + 1))));
    }
  }
  TERRANE_RETURN_IF_ERROR(source->MakeDurable().status());
  const auto start = BenchClock::now();
  int64_t bytes = 0;
  TERRANE_ASSIGN_OR_RETURN(const auto view, source->View(from));
  const auto cursor = view->Documents(from, KeyRange(), /*for_scan=*/true);
  while (cursor->Valid()) {
    TERRANE_ASSIGN_OR_RETURN(const auto writer, target->NewSegment(to, StrCat("plain-", bytes)));
    for (; cursor->Valid() && writer->AddedBytes() < (32 << 20); cursor->Next()) {
      TERRANE_RETURN_IF_ERROR(writer->AddDocument(cursor->shard_key(), cursor->id(), cursor->document()));
    }
    bytes += writer->AddedBytes();
    TERRANE_ASSIGN_OR_RETURN(const storage::BuiltSegment built, writer->Finish());
    TERRANE_RETURN_IF_ERROR(target->Ingest(built.files));
  }
  TERRANE_RETURN_IF_ERROR(cursor->status());
  return static_cast<double>(bytes) / 1e6 / SecondsSince(start);
}

// Reads and writes of the other documents at a fixed number of clients, until stopped.
absl::StatusOr<LoadResult> Foreground(const std::string& proxy, int64_t documents, std::chrono::milliseconds length) {
  constexpr int kClients = 2;
  std::vector<std::unique_ptr<client::Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    TERRANE_ASSIGN_OR_RETURN(auto client, client::Client::Connect({.proxies = {proxy}}));
    clients.push_back(std::move(client));
  }
  const std::string raise = document::Builder().Append("$inc", document::Builder().Append("v", int64_t{1})).Finish();
  return RunLoad(kClients, std::chrono::milliseconds(200), length, [&](int number, int64_t sequence) -> absl::Status {
    client::Client* client = clients[static_cast<size_t>(number)].get();
    const std::string filter = document::Builder().Append("_id", (sequence * 7919 + number * 31) % documents).Finish();
    if (sequence % 2 == 0) return client->FindOne(kCollection, filter).status();
    return client->Update(kCollection, filter, raise).status();
  });
}

int64_t ShardBytesToDisk(const tools::LocalCluster& cluster) {
  int64_t bytes = 0;
  for (const auto& info : cluster.Processes()) {
    if (info.process.role == tools::Role::kShard) bytes += UsageOf(info.process.process.pid).bytes_to_disk;
  }
  return bytes;
}

}  // namespace

absl::Status BenchMove(const BenchOptions& options, Table* table) {
  const int64_t documents = options.quick ? 50'000 : 400'000;
  TERRANE_ASSIGN_OR_RETURN(const auto cluster, StartCluster(options, "move", 2));
  const std::string proxy = cluster->ProxyEndpoints().front();
  TERRANE_ASSIGN_OR_RETURN(auto client,
                           client::Client::Connect({.proxies = {proxy}, .deadline = std::chrono::seconds(30)}));
  TERRANE_RETURN_IF_ERROR(CreateCollection(client.get(), kCollection, 1));
  const int64_t written_before = ShardBytesToDisk(*cluster);
  int64_t document_bytes = 0;
  const auto load_start = BenchClock::now();
  for (int64_t n = 0; n < documents;) {
    std::vector<std::string> batch;
    for (int i = 0; i < 500 && n < documents; ++i, ++n) {
      batch.push_back(Document(n));
      document_bytes += static_cast<int64_t>(batch.back().size());
    }
    TERRANE_RETURN_IF_ERROR(client->Insert(kCollection, batch).status());
  }
  table->Add({"bulk load", "rate, 1 client", static_cast<double>(documents) / SecondsSince(load_start), "docs/s",
              std::nullopt, "", "batches of 500"});
  table->Add({"bulk load", "written to disk per byte",
              static_cast<double>(ShardBytesToDisk(*cluster) - written_before) / static_cast<double>(document_bytes),
              "x", std::nullopt, "", "log, oplog and document, compactions so far included"});

  TERRANE_ASSIGN_OR_RETURN(std::vector<terrane::v1::Chunk> chunks, ChunksOf(client.get(), kCollection));
  const auto other = [&] { return chunks[0].shard() == "s1" ? std::string("s2") : std::string("s1"); };
  TERRANE_ASSIGN_OR_RETURN(const terrane::v1::Migration quiet,
                           MoveAndWait(client.get(), kCollection, chunks[0], other()));
  TERRANE_ASSIGN_OR_RETURN(const double plain, PlainCopy(options.directory, documents));
  table->Add({"move, quiet", "copy rate", quiet.figures().copy_mb_per_s(), "MB/s", plain, "plain scan+SST+ingest", ""});
  table->Add({"move, quiet", "whole move", static_cast<double>(quiet.finished_ms() - quiet.created_ms()) / 1000, "s",
              std::nullopt, "", StrCat(quiet.figures().bytes() / 1'000'000, " MB, verification included")});

  TERRANE_ASSIGN_OR_RETURN(const LoadResult idle, Foreground(proxy, documents, options.Length()));
  TERRANE_ASSIGN_OR_RETURN(chunks, ChunksOf(client.get(), kCollection));
  absl::StatusOr<terrane::v1::Migration> moved = Internal("not moved");
  std::thread mover([&] { moved = MoveAndWait(client.get(), kCollection, chunks[0], other()); });
  const absl::StatusOr<LoadResult> moving = Foreground(proxy, documents, options.Length());
  mover.join();
  TERRANE_RETURN_IF_ERROR(moving.status());
  TERRANE_RETURN_IF_ERROR(moved.status());
  table->Add({"foreground during a move", "p50", moving->p50_ms, "ms", idle.p50_ms, "without", ""});
  table->Add({"foreground during a move", "p99", moving->p99_ms, "ms", idle.p99_ms, "without", ""});
  table->Add({"move under traffic", "copy rate", moved->figures().copy_mb_per_s(), "MB/s", plain,
              "plain scan+SST+ingest", ""});
  return absl::OkStatus();
}

}  // namespace terrane::bench
