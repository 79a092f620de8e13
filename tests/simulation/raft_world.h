// The inside of the Raft simulation: replicas, network, clock, faults. See raft_simulation.h.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "raft/core.h"
#include "raft/invariants.h"
#include "raft/random.h"
#include "simulation/raft_disk.h"
#include "simulation/raft_ledger.h"
#include "simulation/raft_simulation.h"

namespace terrane::raft {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): literals only
using Time = MonotonicTime;            // of the simulated world; each replica has a clock of its own

inline constexpr size_t kRegisters = 3;

// What the entries of the group build: registers, and the position up to which they reflect the log.
struct RegisterState {
  Position applied;
  std::array<uint64_t, kRegisters> registers{};
};

// A client's update on its way: computed under the latch of its register, in `term`.
struct Update {
  Term term;
  uint32_t key = 0;
  uint64_t expected = 0;
  uint64_t value = 0;
};
std::string EncodeUpdate(const Update& update);
Update DecodeUpdate(std::string_view bytes);

// A replica: a core with its host. What a crash leaves is disk and durable.
struct Replica {
  ReplicaId id;
  std::optional<Core> core;  // empty while it is down
  uint64_t life = 0;         // counts its starts; what belongs to an earlier one is void
  InvariantChecker checker;
  SimulatedDisk disk;
  RegisterState state;
  RegisterState durable;

  std::deque<Entry> to_apply;
  bool apply_scheduled = false;
  bool disk_busy = false;
  Time disk_slow_until{0};
  Time paused_until{0};
  Time tick_at{Time::max()};  // world time of the earliest tick that is scheduled

  struct InFlight {
    Position index;
    Update update;
  };
  std::deque<InFlight> in_flight;  // proposed here, not applied yet
  std::array<bool, kRegisters> latched{};
  std::optional<RegisterState> fetched;  // data that came with the snapshot that is being stepped
  bool fetching = false;

  Position seen_commit;
  Position seen_configuration;
  Term led_term;       // last term in which it was seen to lead
  Position no_op;      // of that term
  Position inherited;  // what was committed in the group when it was elected
  enum class Edge : uint8_t { kNone, kNoOpAlone, kOlderOnMajority } edge = Edge::kNone;  // where it will stop
  // Its clock: offset + world time * (1 + drift / 1000).
  Time clock_offset{0};
  int64_t clock_drift = 0;
  std::map<ReplicaId, uint64_t> heard_life;  // of the others, the latest
};

enum class EventType : uint8_t {
  kDeliver,
  kTick,
  kDiskDone,
  kDiskStalls,
  kApply,
  kSyncData,
  kUpdate,
  kPropose,
  kRead,
  kFault,
  kRestart,
  kHeal,
  kFetched
};

struct Event {
  Time at;
  uint64_t order;  // of creation: equal times happen in this order
  EventType type;
  uint32_t replica;  // index in replicas_
  uint64_t life;
  uint64_t slot;  // of a message or an update; how many writes a disk syncs; an update that comes out of turn

  friend bool operator>(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
};

struct UnderWay {
  Message message;
  uint64_t life = 0;        // of its sender
  uint64_t known_life = 0;  // of its receiver, as far as the sender had heard
};

class World {
 public:
  explicit World(const SimulationOptions& options);
  SimulationResult Run();

 private:
  // raft_world.cc
  void Schedule(EventType type, Time after, uint32_t replica = 0, uint64_t slot = 0);
  void RunUntilQuiet();
  void Handle(const Event& event);
  Time ClockOf(const Replica& replica) const;
  Time WorldTimeOf(const Replica& replica, Time local) const;
  Replica* Find(ReplicaId id);
  uint32_t IndexOf(const Replica& replica) const { return static_cast<uint32_t>(&replica - replicas_.data()); }
  void Start(Replica* replica);
  void Crash(Replica* replica);
  // After each call into a core: checks, then does what its Ready asks for.
  void AfterStep(Replica* replica);
  void TakeReady(Replica* replica);
  void Post(const Message& message);
  void Deliver(Replica* replica, UnderWay under_way);
  void Fetch(Replica* replica, const Message& message);
  void Fetched(Replica* replica, Message message);
  void StartDisk(Replica* replica);
  void DiskDone(Replica* replica, uint64_t writes);
  void ApplySome(Replica* replica);
  void SyncData(Replica* replica);
  void Fail(const std::string& sentence);
  void Check(const char* broken, const Replica& replica);
  void Trace(const std::string& line);

  // raft_clients.cc
  void ClientUpdates(bool once);
  void ClientProposes(Replica* replica, const Update& update);
  void ClientReads();
  void ReadUnderLeases();
  void ReadAtFollowers();
  void LeaderStateChanged(Replica* replica);
  void ApplyToRegisters(Replica* replica, const Entry& entry);
  void Acknowledge(Replica* replica, const Entry& entry);
  void ReadsAnswered(Replica* replica, const std::vector<ReadState>& reads);

  // raft_nemesis.cc
  void NextFault();
  void CrashSomeone();
  void Partition();
  void TransferSomewhere();
  void ChangeMembership();
  void SlowDisk();
  void Pause();
  void HealAfter(Time wait);
  void Heal();
  void MaybeCrashBeforeSync(Replica* replica);
  void MaybeStopNewLeader(Replica* leader);
  void StopForAWhile(Replica* replica);
  void BeginFigureEight();
  void NewLeaderElected(Replica* leader);
  void CutOff(Replica* replica);
  void EndFaults();
  bool Recovered();
  Replica* SomeLeader();
  Replica* SomeReplica();

  bool Chance(uint64_t permille) { return random_.Below(1000) < permille; }
  Time Between(Time low, Time high) {
    return low + Time(static_cast<int64_t>(random_.Below(static_cast<uint64_t>((high - low).count()) + 1)));
  }

  SimulationOptions options_;
  Random random_;
  SimulationCounts counts_;
  RaftLedger ledger_;
  std::string failure_;

  Time now_{0};
  uint64_t order_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<Replica> replicas_;
  std::vector<UnderWay> messages_;  // slots
  std::vector<uint64_t> free_messages_;
  std::vector<Update> updates_;  // slots of updates under way
  std::vector<uint64_t> free_updates_;
  std::vector<std::vector<bool>> cut_;  // [from][to]

  // What the seed chose.
  uint64_t loss_permille_ = 0;
  uint64_t duplicate_permille_ = 0;
  uint64_t late_permille_ = 0;  // messages that come very late
  uint64_t vote_crash_permille_ = 0;
  uint64_t edge_permille_ = 0;  // faults aimed at a new leader's first moments
  uint64_t compact_permille_ = 0;
  uint64_t quiet_permille_ = 0;  // updates that are followed by a long pause of all clients
  bool membership_ = false;
  Time delay_max_{0};
  Time apply_max_{0};
  Options core_options_;

  bool faults_ = true;
  uint64_t cuts_ = 0;  // of the network, counted
  // Figure 8 of the paper, as far as the faults have played it.
  enum class FigureEight : uint8_t { kNone, kFirstCutOff, kSecondStopped } figure_eight_ = FigureEight::kNone;
  uint64_t faults_done_ = 0;
  uint64_t next_value_ = 0;
  uint64_t next_context_ = 0;
  Position acknowledged_;                                   // greatest position of an acknowledged update
  std::vector<std::pair<Time, Position>> acknowledged_at_;  // when it grew
  std::unordered_map<uint64_t, Position> reads_;            // context -> what was acknowledged when the read began
  Position goal_;  // after the faults: a position committed then; all members must apply it
};

}  // namespace terrane::raft
