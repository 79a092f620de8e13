#include "power_run.h"

#include <unistd.h>

#include <cstdio>
#include <thread>

#include "common/logging.h"
#include "common/status.h"
#include "power_clients.h"
#include "power_mover.h"
#include "shard/state_records.h"
#include "support/await.h"
#include "support/temp_directory.h"

namespace terrane::shard {
namespace {

constexpr int kClients = 3;

// In memory, where the machine has such a place: what survives is decided by the faults, not by the machine.
std::filesystem::path WhereToRun() {
  std::error_code error;
  const auto space = std::filesystem::space("/dev/shm", error);
  const bool memory = !error && space.available > (1 << 29) && access("/dev/shm", W_OK) == 0;
  return memory ? "/dev/shm" : "";
}

class Run {
 public:
  Run(uint64_t seed, int cuts, PlantedMistake mistake)
      : cuts_(cuts), mistake_(mistake), random_(seed), world_(kClients + 1) {
    for (const char* name : {"s1", "s2"}) {
      shards_.push_back(std::make_unique<PowerShard>(
          directory_ / name, name, [this] { world_.power.OnOperation(); },
          [this, name](const absl::Status& status) {
            world_.findings.Add(StrCat("shard ", name, " gave up: ", status.ToString()));
          }));
      world_.shards.push_back(shards_.back().get());
    }
    world_.power.Connect(world_.shards, &world_.gate);
    mover_ = std::make_unique<PowerMover>(random_(), &world_);
    for (int i = 0; i < kClients; ++i) {
      clients_.push_back(std::make_unique<PowerClient>(i, random_(), &world_, mover_.get()));
    }
  }

  ~Run() { shards_.clear(); }

  PowerReport Execute() {
    if (Prepare()) {
      Plant();
      std::vector<std::thread> threads;
      threads.emplace_back([this] { mover_->Run(); });
      for (auto& client : clients_) threads.emplace_back([&client] { client->Run(); });
      while (report_.cuts < cuts_ && world_.findings.empty()) CutOnce();
      End();
      for (std::thread& thread : threads) thread.join();
      if (world_.findings.empty()) CheckEverything(/*at_the_end=*/true);
    }
    report_.findings = world_.findings.All();
    report_.moves = mover_->committed();
    report_.aborted = mover_->aborted();
    report_.attempts_ended = mover_->attempts_ended();
    for (auto& client : clients_) {
      report_.acknowledged += client->acknowledged();
      report_.repeated += client->repeated();
    }
    return report_;
  }

 private:
  bool Prepare() {
    for (auto& shard : shards_) {
      if (const absl::Status status = shard->Start(); !status.ok()) {
        world_.findings.Add(StrCat("a new shard does not start: ", status.ToString()));
        return false;
      }
    }
    if (!mover_->CreateChunk()) return false;
    for (auto& client : clients_) {
      if (client->Fill()) continue;
      world_.findings.Add("the first documents were not inserted");
      return false;
    }
    return true;
  }

  void Plant() {
    for (auto& shard : shards_) {
      if (mistake_ == PlantedMistake::kLogFile) shard->log_disk().IgnoreSyncs(true);
      if (mistake_ == PlantedMistake::kStoreWal) shard->store_disk().IgnoreSyncsOf(".log");
      if (mistake_ == PlantedMistake::kStoreTables) shard->store_disk().IgnoreSyncsOf(".sst");
    }
  }

  PowerSwitch::Plan NewPlan(int most_operations) {
    PowerSwitch::Plan plan;
    plan.operations = static_cast<int>(1 + random_() % most_operations);
    static constexpr uint32_t kVictims[] = {3, 3, 3, 1, 2};
    plan.victims = kVictims[random_() % std::size(kVictims)];
    plan.seed = random_();
    return plan;
  }

  void CutOnce() {
    PowerSwitch::Plan plan = NewPlan(150);
    if (random_() % 2 == 0) {
      plan.from = static_cast<MoveStage>(random_() % kMoveStages);
      plan.operations = 1 + plan.operations % 40;
    }
    world_.power.Arm(plan);
    constexpr std::chrono::milliseconds kMoveTakes{600};
    uint32_t victims = world_.power.AwaitCut(kMoveTakes);
    if (victims == 0 && (victims = world_.power.Disarm()) == 0) {
      // No move got there: any moment will do.
      plan.from.reset();
      world_.power.Arm(plan);
      victims = world_.power.AwaitCut(std::chrono::seconds(10 * testing::kSlowness));
      if (victims == 0) {
        world_.findings.Add(StrCat("everything stands still in ", MoveStageName(world_.power.stage())));
        return;
      }
    }
    world_.power.Disarm();
    ++report_.cuts_in[static_cast<size_t>(world_.power.stage())];
    Recover(victims);
  }

  // Brings the shards back, and looks whether everything is there; the others halt meanwhile.
  void Recover(uint32_t victims) {
    while (victims != 0) {
      ++report_.cuts;
      for (size_t i = 0; i < shards_.size(); ++i) {
        if ((victims >> i) & 1) shards_[i]->Stop();
      }
      if (!world_.gate.AwaitHalt()) {
        fprintf(stderr, "a thread does not come back from a shard that has stopped\n");
        std::abort();
      }
      victims = Restart(victims);
    }
    if (world_.findings.empty()) CheckEverything(/*at_the_end=*/false);
    // A shard that did not start is not to be touched.
    if (!world_.findings.empty()) world_.gate.Abandon();
    world_.gate.Open();
  }

  // Victims of another cut while they start; 0: they serve, or something was found.
  uint32_t Restart(uint32_t victims) {
    for (size_t i = 0; i < shards_.size(); ++i) {
      if (((victims >> i) & 1) == 0) continue;
      shards_[i]->Destroy();
      if (const absl::Status status = shards_[i]->PowerOn(); !status.ok()) {
        world_.findings.Add(status.ToString());
        return 0;
      }
    }
    const bool cut_again = report_.cuts < cuts_ && random_() % 6 == 0;
    if (cut_again) {
      PowerSwitch::Plan plan = NewPlan(30);
      plan.victims |= victims;
      world_.power.Arm(plan);
    }
    absl::Status refused;
    for (size_t i = 0; i < shards_.size() && refused.ok(); ++i) {
      if ((victims >> i) & 1) refused = shards_[i]->Start();
    }
    if (const uint32_t again = world_.power.Disarm(); again != 0) {
      ++report_.cuts_while_starting;
      return again;
    }
    if (!refused.ok()) world_.findings.Add(StrCat("a start is refused: ", refused.ToString()));
    return 0;
  }

  void CheckEverything(bool at_the_end) {
    for (auto& shard : shards_) CheckDigests(*shard);
    DocumentsOnDisk there;
    const PowerMover::Owner owner = mover_->owner();
    const CopyId copy(owner.route.copy_id());
    auto view = owner.shard->host().store().View(copy);
    if (!view.ok()) return world_.findings.Add(StrCat("the owner's copy: ", view.status().ToString()));
    auto cursor = (*view)->Documents(copy, KeyRange{"", std::nullopt});
    for (; cursor->Valid(); cursor->Next()) {
      there[{std::string(cursor->shard_key()), std::string(cursor->id())}] = cursor->document();
    }
    if (!cursor->status().ok()) world_.findings.Add(cursor->status().ToString());
    for (auto& client : clients_) client->Check(&there);
    if (!there.empty()) world_.findings.Add(StrCat(there.size(), " documents that nobody wrote are there"));
    if (at_the_end) CheckRemains(owner);
  }

  // The sums that are kept along are those of what is on disk.
  void CheckDigests(PowerShard& shard) {
    auto& store = shard.host().store();
    for (const OwnedChunk* known : shard.host().applier().View()->All()) {
      auto view = store.View(known->copy);
      if (!view.ok()) continue;  // it is being removed
      const auto ownership = LoadOwnership(**view);
      if (!ownership.ok()) return world_.findings.Add(ownership.status().ToString());
      const OwnedChunk* chunk = ownership->Find(known->copy, known->range);
      if (chunk == nullptr) continue;
      const auto scanned = storage::ScanDigest(**view, chunk->copy, chunk->range);
      if (!scanned.ok()) return world_.findings.Add(scanned.status().ToString());
      if (*scanned == chunk->digest) continue;
      world_.findings.Add(StrCat("copy ", chunk->copy.value(), " on ", shard.name(), " (", StateName(chunk->state),
                                 ") is ", scanned->ToString(), " by scan, ", chunk->digest.ToString(), " by sum"));
    }
  }

  // Nothing is left of copies that nobody owns.
  void CheckRemains(const PowerMover::Owner& owner) {
    for (auto& shard : shards_) {
      const auto clean = [&] {
        const auto copies = shard->host().store().ListCopies();
        if (!copies.ok()) return false;
        if (shard.get() != owner.shard) return copies->empty();
        return copies->size() == 1 && copies->front().copy == CopyId(owner.route.copy_id());
      };
      if (!testing::Await(clean)) world_.findings.Add(StrCat("shard ", shard->name(), " holds copies of nobody"));
    }
  }

  // The move under way goes on to its end, operations too.
  void End() {
    if (world_.findings.empty()) {
      world_.gate.Finish();
      if (world_.gate.AwaitEnd()) return;
      if (world_.findings.empty()) {
        world_.findings.Add(StrCat("the move does not end; it is in ", MoveStageName(world_.power.stage())));
      }
    }
    world_.gate.Abandon();
    for (auto& shard : shards_) shard->Stop();
  }

  const int cuts_;
  const PlantedMistake mistake_;
  std::mt19937_64 random_;
  const TempDirectory directory_{"power", WhereToRun()};
  PowerWorld world_;
  std::vector<std::unique_ptr<PowerShard>> shards_;
  std::unique_ptr<PowerMover> mover_;
  std::vector<std::unique_ptr<PowerClient>> clients_;
  PowerReport report_;
};

}  // namespace

void PowerReport::operator+=(const PowerReport& other) {
  findings.insert(findings.end(), other.findings.begin(), other.findings.end());
  cuts += other.cuts;
  cuts_while_starting += other.cuts_while_starting;
  for (size_t i = 0; i < cuts_in.size(); ++i) cuts_in[i] += other.cuts_in[i];
  moves += other.moves;
  aborted += other.aborted;
  attempts_ended += other.attempts_ended;
  acknowledged += other.acknowledged;
  repeated += other.repeated;
}

PowerReport RunWithPowerCuts(uint64_t seed, int cuts, PlantedMistake mistake) {
  return Run(seed, cuts, mistake).Execute();
}

}  // namespace terrane::shard
