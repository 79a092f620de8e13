#include "metadata/shard_reports.h"

#include "common/status.h"
#include "metadata/node.h"
#include "metadata/waiting.h"
#include "migration/ranges.h"

namespace terrane::metadata {

ShardReports DescribeShards(Node& node, MonotonicTime deadline) {
  std::map<std::string, Waiting<absl::StatusOr<v1::DescribeResponse>>> waiting;
  node.Read([&](const State& state) {
    for (const auto& [name, shard] : state.shards()) waiting[name];
  });
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - node.clock()->Now());
  for (const auto& [name, answer] : waiting) {
    node.shards().Describe(name, std::max(left, std::chrono::milliseconds(1)),
                           [answer](absl::StatusOr<v1::DescribeResponse> report) { answer.Set(std::move(report)); });
  }
  ShardReports reports;
  for (const auto& [name, answer] : waiting) {
    auto report = answer.Wait(deadline);
    reports.emplace(name, report ? *std::move(report)
                                 : absl::DeadlineExceededError(StrCat("shard ", name, " did not answer in time")));
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
