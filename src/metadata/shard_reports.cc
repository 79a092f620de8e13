#include "metadata/shard_reports.h"

#include <algorithm>
#include <set>
#include <thread>

#include "common/status.h"
#include "metadata/node.h"
#include "metadata/waiting.h"
#include "migration/ranges.h"

namespace terrane::metadata {

namespace {

// A shard that elects a leader just now is worth waiting for.
constexpr std::chrono::seconds kElectionPatience{3};
constexpr std::chrono::milliseconds kBetweenRounds(50);

}  // namespace

ShardReports DescribeShards(Node& node, MonotonicTime deadline) {
  std::map<std::string, Waiting<absl::StatusOr<v1::DescribeResponse>>> waiting;
  std::set<std::string> replicated;
  node.Read([&](const State& state) {
    for (const auto& [name, shard] : state.shards()) {
      waiting[name];
      if (shard.replicas_size() > 1) replicated.insert(name);
    }
  });
  const MonotonicTime patience = std::min(deadline, node.clock()->Now() + kElectionPatience);
  ShardReports reports;
  while (!waiting.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - node.clock()->Now());
    for (auto& [name, answer] : waiting) {
      answer = {};
      node.shards().Describe(name, std::max(left, std::chrono::milliseconds(1)),
                             [answer](absl::StatusOr<v1::DescribeResponse> report) { answer.Set(std::move(report)); });
    }
    std::erase_if(waiting, [&](const auto& asked) {
      auto report = asked.second.Wait(deadline);
      const bool again = replicated.contains(asked.first) && node.clock()->Now() < patience;
      if (again && report && absl::IsUnavailable(report->status())) return false;
      reports.emplace(asked.first,
                      report ? *std::move(report)
                             : absl::DeadlineExceededError(StrCat("shard ", asked.first, " did not answer in time")));
      return true;
    });
    if (!waiting.empty()) std::this_thread::sleep_for(kBetweenRounds);
  }
  return reports;
}

const v1::OwnedChunk* FindOwned(const v1::DescribeResponse& report, uint32_t copy, const v1::KeyRange& range) {
  for (const auto& chunk : report.ownership().chunks()) {
    if (chunk.copy_id() == copy && migration::SameRange(chunk.range(), range)) return &chunk;
  }
  return nullptr;
}

}  // namespace terrane::metadata
