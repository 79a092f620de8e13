// Two real shards of one replica each in this process, with store, log, applier, export over gRPC and imports; the test
// plays the coordinator.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "common/status.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "shard/applier.h"
#include "shard/convert.h"
#include "shard/core.h"
#include "shard/export_service.h"
#include "shard/import_manager.h"
#include "shard/proposer.h"
#include "shard/state_records.h"
#include "storage/store.h"
#include "support/temp_directory.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

inline constexpr CollectionId kOrders(3);
inline const std::string kSession(16, 's');

// n as an 8-byte big-endian shard key.
inline std::string Key(uint64_t n) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(n >> shift));
  return out;
}

class MiniShard {
 public:
  MiniShard(std::filesystem::path directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)) {}
  ~MiniShard() { Stop(); }

  void Start() {
    storage::StoreOptions options;
    options.directory = directory_ / "data";
    options.write_buffer_bytes = 4 << 20;
    auto store = storage::Store::Open(options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    hybrid_ = std::make_unique<HybridClock>(Clock::System());
    auto applier = Applier::Open({.shard = name_}, store_.get(), hybrid_.get());
    ASSERT_TRUE(applier.ok()) << applier.status();
    applier_ = *std::move(applier);
    proposer_ = std::make_unique<Proposer>(hybrid_.get(), applier_.get(), [] { return std::string(); });
    replication::ReplicatedLog::Options log_options;
    log_options.directory = directory_ / "raft";
    log_options.identity = {.cluster = "test", .group = name_, .replica = ReplicaId(1)};
    log_options.members = {{ReplicaId(1), "127.0.0.1:1"}};
    auto log = replication::ReplicatedLog::Open(log_options, applier_.get());
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
    proposer_->SetLog(log_.get());
    core_.store = store_.get();
    core_.applier = applier_.get();
    core_.proposer = proposer_.get();
    while (!proposer_->ServingTerm().ok()) std::this_thread::yield();
    exports_ = ExportService::Make({.store = store_.get(),
                                    .ownership = [this] { return applier_->View(); },
                                    .oplog_scan_bytes = oplog_scan_bytes,
                                    .clock = export_clock});
    auto server = rpc::Server::Start({}, {exports_->service()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    StartImports();
  }
  void StartImports() {
    ImportHost host = MakeImportHost(&core_);
    host.ownership = [this, ownership = host.ownership] {
      ++looks;
      if (on_look) std::exchange(on_look, nullptr)();
      return ownership();
    };
    host.peers = peers;
    host.hold = hold;
    imports_ = std::make_unique<ImportManager>(ImportManager::Options{
        .host = std::move(host),
        .make_source =
            [this](std::vector<std::string> endpoints) { return MakeGrpcImportSource(&pool_, std::move(endpoints)); },
        .serving = [this] { return proposer_->ServingTerm().status(); },
        .driver = driver});
  }
  void Stop() {
    if (imports_) imports_->Stop();
    imports_.reset();
    if (exports_) exports_->Stop();
    if (server_) server_->Shutdown(std::chrono::milliseconds(200));
    server_.reset();
    exports_.reset();
    if (log_) log_->Stop();
    log_.reset();
    applier_.reset();
    store_.reset();
  }

  EntryResult Propose(v1::ShardEntry entry) {
    auto result = proposer_->ProposeAndWait(std::move(entry), std::chrono::seconds(20));
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : EntryResult{.outcome = Outcome::kConflict};
  }

  absl::Status ProposeWrite(v1::ShardEntry entry) {
    const absl::StatusOr<Term> term = proposer_->ServingTerm();
    if (!term.ok()) return term.status();
    std::promise<absl::Status> done;
    proposer_->Propose(*term, std::move(entry),
                       [&](replication::ProposeResult result) { done.set_value(proposer_->StatusOf(result)); });
    return done.get_future().get();
  }

  storage::Store& store() { return *store_; }
  Applier& applier() { return *applier_; }
  ImportManager& imports() { return *imports_; }
  Proposer& proposer() { return *proposer_; }
  rpc::ChannelPool& pool() { return pool_; }
  const std::string& address() const { return server_->address(); }

  ImportDriver::Options driver;
  std::function<std::unique_ptr<PeerReplicas>()> peers;  // null: a shard of one
  decltype(ImportHost::hold) hold;
  int64_t oplog_scan_bytes = ExportOptions().oplog_scan_bytes;
  const Clock* export_clock = Clock::System();
  std::atomic<int> looks{0};      // of imports at what is owned
  std::function<void()> on_look;  // at the next one, once; to be set while no driver runs

 private:
  const std::filesystem::path directory_;
  const std::string name_;
  rpc::ChannelPool pool_;
  std::unique_ptr<storage::Store> store_;
  std::unique_ptr<HybridClock> hybrid_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<Proposer> proposer_;
  std::unique_ptr<replication::ReplicatedLog> log_;
  Core core_;
  std::unique_ptr<ExportService> exports_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<ImportManager> imports_;
};

class MoveFixture : public testing::Test {
 protected:
  static constexpr CopyId kSourceCopy{10};
  static constexpr CopyId kTargetCopy{20};
  static constexpr Token kToken{5};

  MoveFixture() {
    source_ = std::make_unique<MiniShard>(directory_ / "s1", "s1");
    target_ = std::make_unique<MiniShard>(directory_ / "s2", "s2");
    target_->driver.segment_bytes = 64 << 10;
    target_->driver.verify_range_bytes = 32 << 10;
    target_->driver.poll_wait = std::chrono::milliseconds(100);
  }
  ~MoveFixture() override {
    target_.reset();
    source_.reset();
  }
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(source_->Start());
    ASSERT_NO_FATAL_FAILURE(target_->Start());
  }

  void CreateChunk() {
    v1::ShardEntry entry;
    v1::CreateChunk* create = entry.mutable_create_chunk();
    create->set_collection_id(kOrders.value());
    create->set_epoch(1);
    *create->mutable_range() = ToProto(range_);
    create->set_copy_id(kSourceCopy.value());
    create->set_token(kToken.value());
    create->set_collection("shop.orders");
    ASSERT_EQ(source_->Propose(std::move(entry)).outcome, Outcome::kApplied);
  }

  // ---- writes to the source; OK or the refusal ----
  absl::Status Write(std::vector<v1::Change> changes) {
    v1::ShardEntry entry;
    v1::WriteEntry* write = entry.mutable_write();
    write->set_collection_id(kOrders.value());
    write->set_copy_id(kSourceCopy.value());
    write->set_token(token_.value());
    for (v1::Change& change : changes) write->add_changes()->Swap(&change);
    return source_->ProposeWrite(std::move(entry));
  }
  static v1::Change Put(uint64_t n, std::string document, int64_t statement = -1) {
    v1::Change change;
    change.set_shard_key(Key(n));
    change.set_id("id");
    change.set_document(std::move(document));
    if (statement >= 0) AddRetry(statement, &change);
    return change;
  }
  static v1::Change Delete(uint64_t n) {
    v1::Change change;
    change.set_shard_key(Key(n));
    change.set_id("id");
    change.set_deleted(true);
    return change;
  }
  static void AddRetry(int64_t statement, v1::Change* change) {
    v1::RetryRecord record;
    record.mutable_id()->set_session(kSession);
    record.mutable_id()->set_statement(statement);
    record.set_inserted(1);
    change->set_retry(record.SerializeAsString());
  }
  // Documents [from, to) of about `bytes`, every tenth with a retry record.
  void Fill(uint64_t from, uint64_t to, size_t bytes = 300) {
    std::vector<v1::Change> changes;
    for (uint64_t n = from; n < to; ++n) {
      changes.push_back(Put(n, StrCat("document ", n, std::string(bytes, '.')), n % 10 == 0 ? int64_t(n) : -1));
      if (changes.size() == 500 || n + 1 == to) {
        ASSERT_TRUE(Write(std::exchange(changes, {})).ok());
      }
    }
  }

  // ---- steps of the coordinator ----
  v1::MoveRef Ref(uint32_t attempt = 1) const {
    v1::MoveRef move;
    move.set_migration_id(7);
    move.set_attempt(attempt);
    return move;
  }
  void PinAndPrepare() {
    v1::ShardEntry pin;
    *pin.mutable_pin()->mutable_move() = Ref();
    pin.mutable_pin()->set_collection_id(kOrders.value());
    *pin.mutable_pin()->mutable_range() = ToProto(range_);
    pin.mutable_pin()->set_copy_id(kSourceCopy.value());
    const EntryResult pinned = source_->Propose(std::move(pin));
    ASSERT_TRUE(pinned.ok()) << pinned.why;
    v1::ShardEntry entry;
    v1::PrepareCopy* prepare = entry.mutable_prepare_copy();
    *prepare->mutable_move() = Ref();
    prepare->set_collection_id(kOrders.value());
    prepare->set_epoch(1);
    *prepare->mutable_range() = ToProto(range_);
    prepare->set_copy_id(kTargetCopy.value());
    prepare->set_token(kToken.value());
    prepare->set_source("s1");
    prepare->set_source_copy(kSourceCopy.value());
    prepare->set_collection("shop.orders");
    prepare->set_pin(pinned.position.value());
    ASSERT_TRUE(target_->Propose(std::move(entry)).ok());
  }
  absl::StatusOr<v1::ImportStatus> Import(uint32_t attempt = 1) {
    v1::ImportStep step;
    *step.mutable_move() = Ref(attempt);
    step.set_copy_id(kTargetCopy.value());
    step.add_source_endpoints(source_->address());
    return target_->imports().Import(step);
  }
  // Polls as the coordinator does until `enough`.
  template <typename Enough>
  v1::ImportStatus ImportUntil(const Enough& enough, uint32_t attempt = 1) {
    return PollUntil<v1::ImportStatus>([&] { return Import(attempt); }, enough);
  }
  v1::ImportStatus ImportUntilCopied(uint32_t attempt = 1) {
    return ImportUntil([](const v1::ImportStatus& status) { return status.copied(); }, attempt);
  }
  v1::VerifyStatus VerifyUntilDone(uint32_t attempt = 1, bool restart = false) {
    v1::VerifyStep step;
    *step.mutable_move() = Ref(attempt);
    step.set_copy_id(kTargetCopy.value());
    step.add_source_endpoints(source_->address());
    step.set_restart(restart);
    return PollUntil<v1::VerifyStatus>(
        [&] {
          auto status = target_->imports().Verify(step);
          step.set_restart(false);
          return status;
        },
        [](const v1::VerifyStatus& status) { return status.done(); });
  }
  EntryResult Fence(uint32_t attempt = 1) {
    v1::ShardEntry entry;
    v1::FenceEntry* fence = entry.mutable_fence();
    *fence->mutable_move() = Ref(attempt);
    fence->set_collection_id(kOrders.value());
    *fence->mutable_range() = ToProto(range_);
    fence->set_copy_id(kSourceCopy.value());
    fence->set_token(kToken.value() + attempt - 1);
    EntryResult result = source_->Propose(std::move(entry));
    EXPECT_TRUE(result.ok()) << result.why;
    return result;
  }
  absl::StatusOr<EntryResult> Complete(const EntryResult& fence, uint32_t attempt = 1) {
    v1::CompleteStep step;
    *step.mutable_move() = Ref(attempt);
    step.set_copy_id(kTargetCopy.value());
    step.set_fence(fence.position.value());
    ToProto(fence.digest, step.mutable_digest());
    step.add_source_endpoints(source_->address());
    step.set_token(kToken.value() + attempt - 1);
    return target_->imports().Complete(step, Clock::System()->Now() + std::chrono::seconds(20));
  }
  void EndAttempt(MiniShard& shard, CopyId copy, uint32_t attempt, bool abort) {
    v1::ShardEntry entry;
    v1::EndAttemptEntry* end = entry.mutable_end_attempt();
    *end->mutable_move() = Ref(attempt);
    end->set_collection_id(kOrders.value());
    *end->mutable_range() = ToProto(range_);
    end->set_copy_id(copy.value());
    end->set_token(kToken.value() + attempt);
    end->set_abort(abort);
    EXPECT_TRUE(shard.Propose(std::move(entry)).ok());
  }

  // What is on disk, and that it is what the running digest says.
  storage::ChunkDigest Scan(MiniShard& shard, CopyId copy) {
    auto view = shard.store().View(copy);
    EXPECT_TRUE(view.ok()) << view.status();
    auto scanned = storage::ScanDigest(**view, copy, range_);
    EXPECT_TRUE(scanned.ok()) << scanned.status();
    auto ownership = LoadOwnership(**view);
    EXPECT_TRUE(ownership.ok());
    const OwnedChunk* chunk = ownership->Find(copy, range_);
    EXPECT_NE(chunk, nullptr);
    if (chunk != nullptr) {
      EXPECT_EQ(chunk->digest.ToString(), scanned->ToString());
    }
    return *scanned;
  }
  // Changes a document on the disk of a shard that stands still, below everything.
  void Tamper(MiniShard& shard, CopyId copy, uint64_t n, std::optional<std::string> document) {
    auto batch = shard.store().NewBatch();
    if (document) {
      batch->PutDocument(copy, Key(n), "id", *document);
    } else {
      batch->DeleteDocument(copy, Key(n), "id");
    }
    ASSERT_TRUE(batch->Commit(shard.store().AppliedPosition()).ok());
  }
  // Fence, K, and the proof.
  void Switch(uint32_t attempt = 1) {
    const EntryResult fence = Fence(attempt);
    auto complete = Complete(fence, attempt);
    ASSERT_TRUE(complete.ok()) << complete.status();
    EXPECT_EQ(complete->digest, fence.digest);
    EXPECT_EQ(Scan(*source_, kSourceCopy), Scan(*target_, kTargetCopy));
    EXPECT_EQ(Scan(*target_, kTargetCopy), fence.digest);
  }

  template <typename T, typename Ask, typename Enough>
  T PollUntil(const Ask& ask, const Enough& enough) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (true) {
      absl::StatusOr<T> status = ask();
      EXPECT_TRUE(status.ok()) << status.status();
      if (!status.ok()) return T();
      if (enough(*status)) return *status;
      if (std::chrono::steady_clock::now() > give_up) {
        ADD_FAILURE() << "gave up at " << status->ShortDebugString();
        return *status;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  TempDirectory directory_{"move"};
  KeyRange range_;
  Token token_ = kToken;  // that writes bear
  std::unique_ptr<MiniShard> source_;
  std::unique_ptr<MiniShard> target_;
};

}  // namespace terrane::shard
