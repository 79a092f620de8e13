#include "shard/statistics.h"

#include <algorithm>

#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

v1::ShardStatistics StatisticsCollector::Collect() {
  v1::ShardStatistics statistics;
  if (const auto* log = core_->proposer->log()) statistics.set_term(log->Leader().term.value());
  statistics.set_applied(core_->store->AppliedPosition().value());
  if (const auto ownership = LoadOwnership(*core_->store->View()); ownership.ok()) {
    for (const OwnedChunk* chunk : ownership->All()) {
      switch (chunk->state) {
        case ChunkState::kOwned:
        case ChunkState::kWriteFenced:
        case ChunkState::kReadFenced:
          statistics.set_documents(statistics.documents() + chunk->digest.documents.count);
          statistics.set_document_bytes(statistics.document_bytes() + chunk->digest.documents.bytes);
          statistics.set_chunks(statistics.chunks() + 1);
          break;
        case ChunkState::kImporting:
        case ChunkState::kComplete:
        case ChunkState::kReleased:
          break;
      }
    }
  }
  if (const auto disk = core_->store->Disk(); disk.ok()) {
    statistics.set_disk_free_bytes(static_cast<int64_t>(disk->free_bytes));
    statistics.set_disk_total_bytes(static_cast<int64_t>(disk->total_bytes));
  }
  AddReplicas(&statistics);
  AddOplog(&statistics);
  AddRates(&statistics);
  return statistics;
}

void StatisticsCollector::AddReplicas(v1::ShardStatistics* statistics) const {
  const replication::ReplicatedLog* log = core_->proposer->log();
  if (log == nullptr) return;
  for (const replication::MemberStatus& member : log->Members()) {
    v1::ReplicaStatus* replica = statistics->add_replicas();
    replica->set_replica_id(member.replica.value());
    replica->set_endpoint(member.address);
    replica->set_learner(!member.voter);
    replica->set_leader(member.leads);
    replica->set_applied(member.applied.value());
    replica->set_match(member.match.value());
    replica->set_silent_ms(member.silent.count());
    replica->set_fetching_checkpoint(member.fetching);
  }
}

void StatisticsCollector::AddOplog(v1::ShardStatistics* statistics) const {
  const auto view = core_->store->View();
  const Position first = view->FirstOplogPosition();
  statistics->set_oplog_first(first.value());
  const auto cursor = view->Oplog(first);
  if (!cursor.ok() || !(*cursor)->Valid()) return;
  v1::OplogEntry entry;
  const std::string_view bytes = (*cursor)->entry();
  if (!entry.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const int64_t age_ms = core_->clock->Wall().count() - static_cast<int64_t>(entry.hybrid_time() >> 16);
  statistics->set_oplog_seconds(std::max<int64_t>(age_ms, 0) / 1000);
}

void StatisticsCollector::AddRates(v1::ShardStatistics* statistics) {
  std::lock_guard lock(mutex_);
  const MonotonicTime now = core_->clock->Now();
  const double seconds = std::chrono::duration<double>(now - since_).count();
  if (seconds >= 1) {
    const uint64_t reads = core_->counts->reads.load(std::memory_order_relaxed);
    const uint64_t writes = core_->counts->writes.load(std::memory_order_relaxed);
    reads_per_second_ = static_cast<double>(reads - reads_) / seconds;
    writes_per_second_ = static_cast<double>(writes - writes_) / seconds;
    p99_ms_ = static_cast<double>(core_->counts->foreground_us.Percentile(0.99)) / 1000;
    core_->counts->foreground_us.Reset();
    reads_ = reads;
    writes_ = writes;
    since_ = now;
  }
  statistics->set_reads_per_second(reads_per_second_);
  statistics->set_writes_per_second(writes_per_second_);
  statistics->set_foreground_p99_ms(p99_ms_);
}

}  // namespace terrane::shard
