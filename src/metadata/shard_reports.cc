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

// Modulo 2^128.
void Add(const v1::Digest& digest, v1::Digest* sum) {
  const uint64_t low = sum->low() + digest.low();
  sum->set_high(sum->high() + digest.high() + (low < digest.low() ? 1 : 0));
  sum->set_low(low);
  sum->set_count(sum->count() + digest.count());
  sum->set_bytes(sum->bytes() + digest.bytes());
}

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

absl::Status NotCutOff(const ShardReports& reports) {
  for (const auto& [name, report] : reports) {
    if (absl::IsCancelled(report.status())) return Unavailable(MessageOf(report.status()));
  }
  return absl::OkStatus();
}

std::vector<const v1::OwnedChunk*> PartsOf(const v1::DescribeResponse& report, uint32_t copy,
                                           const v1::KeyRange& range) {
  const KeyRange whole = migration::FromProto(range);
  std::vector<const v1::OwnedChunk*> parts;
  for (const auto& chunk : report.ownership().chunks()) {
    if (chunk.copy_id() == copy && whole.Contains(migration::FromProto(chunk.range()))) parts.push_back(&chunk);
  }
  std::sort(parts.begin(), parts.end(),
            [](const auto* a, const auto* b) { return a->range().min() < b->range().min(); });
  if (parts.empty() || parts.front()->range().min() != whole.min) return {};
  for (size_t i = 1; i < parts.size(); ++i) {
    if (migration::FromProto(parts[i - 1]->range()).max != parts[i]->range().min()) return {};
  }
  if (migration::FromProto(parts.back()->range()).max != whole.max) return {};
  return parts;
}

v1::ChunkDigest SumOf(const std::vector<const v1::OwnedChunk*>& parts) {
  v1::ChunkDigest sum;
  for (const v1::OwnedChunk* part : parts) {
    Add(part->digest().documents(), sum.mutable_documents());
    Add(part->digest().retries(), sum.mutable_retries());
  }
  return sum;
}

}  // namespace terrane::metadata
