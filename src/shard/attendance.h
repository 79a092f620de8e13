// The shard's presence at the metadata service: registration until it has worked, then heartbeats from the leader,
// whose answers say which migrations nobody needs to remember. Who needs nobody's vote has nobody else to ask whether
// its directory is the right one, so it says so (trap T51).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "shard/core.h"
#include "shard/metadata_link.h"
#include "shard/periodic.h"
#include "shard/statistics.h"

namespace terrane::shard {

class Attendance {
 public:
  struct Options {
    std::string endpoint;  // of this replica
    ReplicaId replica;
    terrane::v1::RegisterShardRequest registration;  // its cluster may be empty
    // A new directory: only now its cluster is known, and its log can be opened, which this does before it returns. The
    // registration that follows names the directory. On the thread of the heartbeats, as the others.
    std::function<void(const std::string& cluster)> on_cluster;
    // The metadata service has seen which directory this is, and lets it go on. Called once.
    std::function<void()> on_admitted;
    // The metadata service knows that this directory must not go on (trap T51), or belongs elsewhere.
    std::function<void(const absl::Status&)> on_refused;
    std::chrono::milliseconds interval{1000};
  };

  // All arguments outlive it.
  Attendance(const Core* core, MetadataLink* metadata, StatisticsCollector* statistics, Options options);
  ~Attendance() { Stop(); }

  // The own wall clock, if it is close enough to the metadata service's to decide what has expired: if the last
  // heartbeat that was answered has found so, and it has gone as the monotonic clock has since. A clock that jumps is
  // not trusted for the time until the next answer. Decide by what is returned: a later reading is another one. Nothing
  // until a heartbeat was answered, from the start and from each Poke.
  std::optional<WallTime> TrustedWall() const;

  // This replica leads now: the next heartbeat goes at once, and only then its clock is trusted (trap T44). Does not
  // block.
  void Poke() {
    wall_at_zero_ms_ = kUnknown;
    loop_->Poke();
  }
  // Cancels the metadata link's calls and joins. Idempotent.
  void Stop();

 private:
  void Run();
  void Register();
  void Beat();
  // What the metadata service has forgotten, this shard need not remember by the name of each.
  void ForgetMoves(MigrationId below);
  terrane::v1::ShardReplica* AddMember(const replication::MemberStatus& member,
                                       google::protobuf::RepeatedPtrField<terrane::v1::ShardReplica>* to) const;

  const Core* const core_;
  MetadataLink* const metadata_;
  StatisticsCollector* const statistics_;
  const Options options_;
  bool registered_ = false;
  bool complained_ = false;  // about the registration
  bool refused_ = false;
  bool clock_was_off_ = false;  // as of the last heartbeat that was answered; was logged
  // What the wall clock showed when the monotonic one began, by the readings of the last heartbeat that was answered;
  // kUnknown if they did not agree with the metadata service's.
  static constexpr int64_t kUnknown = std::numeric_limits<int64_t>::min();
  std::atomic<int64_t> wall_at_zero_ms_{kUnknown};
  // A ForgetMoves was proposed and is neither applied nor refused yet. Shared with its callback, which may come late.
  const std::shared_ptr<std::atomic<bool>> forgetting_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<Periodic> loop_;
};

}  // namespace terrane::shard
