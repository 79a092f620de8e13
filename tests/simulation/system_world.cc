#include "simulation/system_world.h"

#include <algorithm>
#include <cstdio>

namespace terrane::simulation {
namespace {

constexpr int64_t kWallStart = 1'700'000'000'000;

uint64_t HashOf(const char* text) {
  uint64_t hash = 0;
  for (; *text != '\0'; ++text) hash = hash * 131 + static_cast<unsigned char>(*text);
  return hash;
}

}  // namespace

Process::Process(World* world, std::string name)
    : world_(*world), name_(std::move(name)), index_(world->AddProcess(this)) {
  offset_ = world->Between(0s, 1s);
  drift_ = world->random().Between(-30, 30);
  wall_offset_ms_ = world->random().Between(-50, 50);
}

bool Process::paused() const {
  return paused_until_ > world_.now();
}

MonotonicTime Process::Now() const {
  return offset_ + world_.now() + Time(world_.now().count() / 1000 * drift_);
}

WallTime Process::Wall() const {
  return WallTime(kWallStart + wall_offset_ms_ + std::chrono::duration_cast<WallTime>(world_.now()).count());
}

Time Process::WorldTimeOf(MonotonicTime local) const {
  const int64_t ran = (local - offset_).count();
  return Time(ran / (1000 + drift_) * 1000 + 2000);
}

void Process::After(Time delay, std::function<void()> fn) {
  world_.After(delay, [this, life = life_, fn = std::move(fn)]() mutable { Run(life, std::move(fn)); });
}

void Process::Run(uint64_t life, std::function<void()> fn) {
  if (!alive_ || life != life_) return;
  if (paused()) {
    world_.After(paused_until_ - world_.now(),
                 [this, life, fn = std::move(fn)]() mutable { Run(life, std::move(fn)); });
    return;
  }
  fn();
}

void Process::Boot() {
  if (alive_) return;
  alive_ = true;
  ++life_;
  paused_until_ = Time(0);
  world_.Note(HashOf(name_.c_str()) + life_);
  if (world_.tracing()) world_.Trace(StrCat(name_, " starts"));
  OnBoot();
}

void Process::Kill() {
  if (!alive_) return;
  if (world_.tracing()) world_.Trace(StrCat(name_, " is killed"));
  alive_ = false;
  OnKill();
}

World::World(const SystemOptions& options) : options_(options), random_(options.seed) {}

size_t World::AddProcess(Process* process) {
  processes_.push_back(process);
  for (auto& row : cut_) row.push_back(false);
  cut_.emplace_back(processes_.size(), false);
  return processes_.size() - 1;
}

void World::After(Time delay, std::function<void()> fn) {
  events_.push_back({now_ + std::max(delay, Time(0)), order_++, std::move(fn)});
  std::push_heap(events_.begin(), events_.end());
}

bool World::Step() {
  if (events_.empty()) return false;
  std::pop_heap(events_.begin(), events_.end());
  Event event = std::move(events_.back());
  events_.pop_back();
  now_ = event.at;
  ++steps_;
  Note(static_cast<uint64_t>(now_.count()) ^ event.order << 40);
  event.fn();
  if (options_.record != nullptr) options_.record->push_back(hash_);
  if (options_.expect != nullptr && (steps_ > options_.expect->size() || (*options_.expect)[steps_ - 1] != hash_)) {
    Fail(StrCat("another run of this seed differs, from event ", steps_, " on"));
  }
  return true;
}

void World::Fail(const std::string& sentence) {
  if (failed()) return;
  failure_ = sentence;
  Trace("FAILED: " + sentence);
}

void World::Trace(const std::string& line) const {
  if (options_.trace) std::fprintf(stderr, "%10.3f ms  %s\n", static_cast<double>(now_.count()) / 1e6, line.c_str());
}

void World::Send(Process* from, Process* to, const char* what, std::function<void()> deliver) {
  Note(HashOf(what) + from->index() * 64 + to->index());
  if (!from->alive() || cut_[from->index()][to->index()]) return;
  if (weather_.loss_permille > 0 && Chance(weather_.loss_permille)) return;
  const int copies = weather_.duplicate_permille > 0 && Chance(weather_.duplicate_permille) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Time delay = Between(100us, weather_.delay_max);
    if (weather_.late_permille > 0 && Chance(weather_.late_permille)) delay = Between(weather_.delay_max, 900ms);
    After(delay, [this, from, to, what, deliver] {
      // What was on its way when the network was cut is mostly lost.
      if (cut_[from->index()][to->index()] && Chance(800)) return;
      if (!to->alive()) return;
      if (tracing()) Trace(StrCat(from->name(), " -> ", to->name(), ": ", what));
      to->After(Time(0), deliver);
    });
  }
}

void World::HealNetwork() {
  for (auto& row : cut_) std::fill(row.begin(), row.end(), false);
}

}  // namespace terrane::simulation
