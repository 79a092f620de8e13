// Time, chance, processes and the network of the simulated system.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/random.h"
#include "common/strings.h"
#include "simulation/system_simulation.h"

namespace terrane::simulation {

using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace): literals only
using Time = MonotonicTime;            // of the simulated world; each process has a clock of its own

class World;

// Something that can be killed, stopped and started again, with a clock of its own.
class Process : public Clock {
 public:
  Process(World* world, std::string name);
  ~Process() override = default;

  const std::string& name() const { return name_; }
  size_t index() const { return index_; }
  bool alive() const { return alive_; }
  bool paused() const;
  uint64_t life() const { return life_; }
  World& world() { return world_; }

  // Runs `fn` in this life, after so much time of the world; later if the process is stopped then.
  void After(Time delay, std::function<void()> fn);
  void Pause(Time until) { paused_until_ = until; }
  void JumpWall(int64_t ms) { wall_offset_ms_ += ms; }

  void Boot();
  void Kill();
  // Its own disk must be left as a crash leaves it, and everything of this life forgotten.
  virtual void OnKill() = 0;
  virtual void OnBoot() = 0;

  // Clock
  MonotonicTime Now() const override;
  WallTime Wall() const override;
  Time WorldTimeOf(MonotonicTime local) const;

 private:
  void Run(uint64_t life, std::function<void()> fn);

  World& world_;
  const std::string name_;
  const size_t index_;
  bool alive_ = false;
  uint64_t life_ = 0;  // counts its starts; what belongs to an earlier one is void
  Time paused_until_{0};
  // Its clock: offset + world time * (1 + drift / 1000).
  Time offset_{0};
  int64_t drift_ = 0;
  int64_t wall_offset_ms_ = 0;
};

// The weather of a seed.
struct Weather {
  uint64_t loss_permille = 0;
  uint64_t duplicate_permille = 0;
  uint64_t late_permille = 0;
  Time delay_max{2ms};
};

class World {
 public:
  explicit World(const SystemOptions& options);

  Time now() const { return now_; }
  const SystemOptions& options() const { return options_; }
  Random& random() { return random_; }
  bool Chance(uint64_t permille) { return random_.Below(1000) < permille; }
  Time Between(Time low, Time high) { return Time(random_.Between(low.count(), high.count())); }

  void After(Time delay, std::function<void()> fn);
  // The next event. False: there is none.
  bool Step();
  uint64_t events() const { return steps_; }

  // The first thing that was wrong ends the run.
  void Fail(const std::string& sentence);
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

  void Probe(const char* name) { probes_.Hit(name); }
  Probes& probes() { return probes_; }
  // Becomes part of the hash of the run.
  void Note(uint64_t what) { hash_ = (hash_ ^ what) * 0x100000001b3; }
  uint64_t hash() const { return hash_; }
  bool tracing() const { return options_.trace; }
  void Trace(const std::string& line) const;

  // ---- network ----
  // Runs `deliver` at `to`, some time, perhaps never or twice; whoever lives there then gets it.
  void Send(Process* from, Process* to, const char* what, std::function<void()> deliver);
  bool Connected(const Process& from, const Process& to) const { return !cut_[from.index()][to.index()]; }
  void Cut(const Process& from, const Process& to, bool cut) { cut_[from.index()][to.index()] = cut; }
  void HealNetwork();
  Weather& weather() { return weather_; }

  // A call and its answer over such messages. `handle` runs at `to` and calls its argument once. `done` is called once,
  // at `from`, unless that dies: UNAVAILABLE without detail if nobody is there, DEADLINE_EXCEEDED without an answer.
  template <typename R>
  void Call(Process* from, Process* to, const char* what, Time timeout,
            std::function<void(std::function<void(absl::StatusOr<R>)>)> handle,
            std::function<void(absl::StatusOr<R>)> done);

 private:
  friend class Process;
  size_t AddProcess(Process* process);

  struct Event {
    Time at;
    uint64_t order;  // of creation: equal times happen in this order
    std::function<void()> fn;
    friend bool operator<(const Event& a, const Event& b) { return a.at != b.at ? a.at > b.at : a.order > b.order; }
  };

  const SystemOptions options_;
  Random random_;
  Time now_{0};
  uint64_t order_ = 0;
  uint64_t steps_ = 0;
  std::vector<Event> events_;  // a heap
  std::string failure_;
  Probes probes_;
  uint64_t hash_ = 0xcbf29ce484222325;
  std::vector<Process*> processes_;
  std::vector<std::vector<bool>> cut_;
  Weather weather_;
};

template <typename R>
void World::Call(Process* from, Process* to, const char* what, Time timeout,
                 std::function<void(std::function<void(absl::StatusOr<R>)>)> handle,
                 std::function<void(absl::StatusOr<R>)> done) {
  auto once = std::make_shared<std::function<void(absl::StatusOr<R>)>>(std::move(done));
  auto finish = [once](absl::StatusOr<R> result) {
    if (!*once) return;
    auto last = std::move(*once);
    *once = nullptr;
    last(std::move(result));
  };
  from->After(timeout, [finish] { finish(absl::DeadlineExceededError("no answer in time")); });
  if (!to->alive() && Chance(700)) {
    from->After(Between(100us, 1ms), [finish] { finish(absl::UnavailableError("connection refused")); });
    return;
  }
  const uint64_t life = from->life();
  Send(from, to, what, [this, from, to, what, life, handle = std::move(handle), finish] {
    handle([this, from, to, what, life, finish](absl::StatusOr<R> result) {
      Send(to, from, what, [from, life, finish, result = std::move(result)] {
        if (from->life() == life) finish(result);
      });
    });
  });
}

}  // namespace terrane::simulation
