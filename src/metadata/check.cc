#include "metadata/check.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "common/status.h"
#include "common/units.h"
#include "metadata/collection_frontend.h"
#include "metadata/node.h"
#include "migration/ranges.h"

namespace terrane::metadata {
namespace {

constexpr int kParallelAudits = 4;
// A map that changes while the shards are asked is looked at again.
constexpr int kMapTries = 5;
// A shard of several replicas that elects a leader just now is asked again, for about three seconds.
constexpr int kElectionTries = 60;
constexpr std::chrono::milliseconds kBetweenTries(50);
// How often a check that waits for shards looks whether it is still wanted.
constexpr std::chrono::nanoseconds kLook = std::chrono::milliseconds(100);

absl::Status Over() {
  return absl::CancelledError("the check is not wanted any more, or this node is shutting down");
}

v1::CheckEvent Event(v1::CheckEvent::Kind kind, std::string text) {
  v1::CheckEvent event;
  event.set_kind(kind);
  event.set_text(std::move(text));
  return event;
}

bool SameDigest(const v1::Digest& a, const v1::Digest& b) {
  return a.high() == b.high() && a.low() == b.low() && a.count() == b.count() && a.bytes() == b.bytes();
}

struct Audited {
  v1::Chunk chunk;
  int tries = 0;
  absl::StatusOr<v1::AuditResponse> answer = absl::UnknownError("not asked");
};

// Audits with bounded parallelism; results in the order in which they come.
class Audits {
 public:
  Audits(Node& node, MonotonicTime deadline, const std::function<bool()>& over)
      : node_(node), deadline_(deadline), over_(over) {}

  void Add(v1::Chunk chunk, int tries = 0) { waiting_.emplace_back(std::move(chunk), tries); }

  // nullopt: no more. Without a chunk: there was no time for it.
  std::optional<Audited> Next() {
    StartSome();
    std::unique_lock lock(shared_->mutex);
    if (in_flight_ == 0) return std::nullopt;
    while (shared_->done.empty() && !over_()) {
      const std::chrono::nanoseconds left = deadline_ - node_.clock()->Now();
      if (left.count() <= 0) break;
      shared_->ready.wait_for(lock, std::min(left, kLook));
    }
    --in_flight_;
    if (over_()) return Audited{v1::Chunk(), 0, Over()};
    if (shared_->done.empty())
      return Audited{v1::Chunk(), 0, absl::DeadlineExceededError("the time for the check is over")};
    Audited next = std::move(shared_->done.front());
    shared_->done.pop_front();
    return next;
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable ready;
    std::deque<Audited> done;
  };

  void StartSome() {
    while (in_flight_ < kParallelAudits && !waiting_.empty()) {
      auto [chunk, tries] = std::move(waiting_.front());
      waiting_.pop_front();
      ++in_flight_;
      v1::AuditRequest request;
      request.set_copy_id(chunk.copy_id());
      *request.mutable_range() = chunk.range();
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - node_.clock()->Now());
      node_.shards().Audit(chunk.shard(), request, std::max(left, std::chrono::milliseconds(1)),
                           [shared = shared_, chunk = chunk, tries = tries](absl::StatusOr<v1::AuditResponse> answer) {
                             std::lock_guard lock(shared->mutex);
                             shared->done.push_back({chunk, tries, std::move(answer)});
                             shared->ready.notify_all();
                           });
    }
  }

  Node& node_;
  const MonotonicTime deadline_;
  const std::function<bool()>& over_;
  std::deque<std::pair<v1::Chunk, int>> waiting_;  // with how often it was tried
  int in_flight_ = 0;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

std::optional<std::string> JudgeAudit(const Audited& audited, const std::string& where) {
  if (!audited.answer.ok())
    return StrCat("chunk ", where, " could not be audited: ", MessageOf(audited.answer.status()));
  const v1::AuditResponse& answer = *audited.answer;
  if (!SameDigest(answer.scanned().documents(), answer.running().documents())) {
    return StrCat("chunk ", where, " on ", audited.chunk.shard(), ": what is on disk (",
                  answer.scanned().documents().count(), " documents) does not have the digest that the log says (",
                  answer.running().documents().count(), " documents)", answer.detail().empty() ? "" : ": ",
                  answer.detail());
  }
  if (!SameDigest(answer.scanned().retries(), answer.running().retries())) {
    return StrCat("chunk ", where, " on ", audited.chunk.shard(),
                  ": its retry records on disk do not have their digest", answer.detail().empty() ? "" : ": ",
                  answer.detail());
  }
  if (answer.misplaced() > 0) {
    return StrCat("chunk ", where, " on ", audited.chunk.shard(), " holds ", answer.misplaced(),
                  " documents whose shard key does not belong there");
  }
  return std::nullopt;
}

}  // namespace

absl::Status RunCheck(Node& node, const v1::CheckRequest& request, MonotonicTime deadline,
                      const std::function<bool()>& over, const std::function<bool(v1::CheckEvent)>& emit) {
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  const bool known = request.collection().empty() || node.Read([&](const State& state) {
    return state.FindCollection(request.collection()) != nullptr;
  });
  if (!known) return NoSuchCollection(node, request.collection());

  std::vector<std::string> findings;
  v1::MetadataState state;
  for (int i = 0; i < kMapTries; ++i) {
    const MonotonicTime patience = node.clock()->Now() + std::chrono::seconds(5);
    state = node.Read([](const State& state) { return state.ToProto(); });
    const ShardReports reports = DescribeShards(node, std::min(deadline, patience));
    findings = CompareMapWithShards(state, reports, request.collection());
    const uint64_t after = node.Read([](const State& state) { return state.revision().value(); });
    if (findings.empty() || after == state.revision()) break;
  }
  // What the shards did not say by then is no finding.
  if (over()) return Over();

  std::map<uint32_t, std::string> names;
  for (const auto& collection : state.collections()) {
    if (collection.state() == v1::Collection::READY) names[collection.id()] = collection.name();
  }
  int64_t found = 0;
  int64_t chunks = 0;
  int64_t documents = 0;
  auto report = [&](std::string text) {
    ++found;
    return emit(Event(v1::CheckEvent::FINDING, std::move(text)));
  };
  for (std::string& text : findings) {
    if (!report(std::move(text))) return absl::CancelledError("nobody listens any more");
  }

  Audits audits(node, deadline, over);
  for (const auto& chunk : state.chunks()) {
    auto name = names.find(chunk.collection_id());
    if (name == names.end() || (!request.collection().empty() && name->second != request.collection())) continue;
    ++chunks;
    if (!request.skip_documents()) audits.Add(chunk);
  }
  const int64_t all_chunks = chunks;
  if (!request.skip_documents()) chunks = 0;
  while (auto audited = audits.Next()) {
    if (audited->chunk.copy_id() == 0) return audited->answer.status();
    const std::string where =
        StrCat(names[audited->chunk.collection_id()], " ", migration::FromProto(audited->chunk.range()).ToString());
    bool moved = false;
    if (!audited->answer.ok()) {
      // It went to another shard meanwhile: that is no damage.
      moved = node.Read([&](const State& state) {
        const v1::Chunk* now =
            state.FindChunk(CollectionId(audited->chunk.collection_id()), audited->chunk.range().min());
        return now == nullptr || now->copy_id() != audited->chunk.copy_id() ||
               !migration::SameRange(now->range(), audited->chunk.range());
      });
    }
    if (moved) {
      const v1::Chunk now = node.Read([&](const State& state) {
        const v1::Chunk* chunk =
            state.FindChunk(CollectionId(audited->chunk.collection_id()), audited->chunk.range().min());
        return chunk == nullptr ? v1::Chunk() : *chunk;
      });
      if (now.copy_id() != 0 && migration::SameRange(now.range(), audited->chunk.range())) audits.Add(now);
      continue;
    }
    if (absl::IsUnavailable(audited->answer.status()) && audited->tries < kElectionTries &&
        node.Read([&](const State& state) {
          const v1::Shard* shard = state.FindShard(audited->chunk.shard());
          return shard != nullptr && shard->replicas_size() > 1;
        })) {
      std::this_thread::sleep_for(kBetweenTries);
      audits.Add(audited->chunk, audited->tries + 1);
      continue;
    }
    ++chunks;
    if (audited->answer.ok()) documents += audited->answer->scanned().documents().count();
    if (auto wrong = JudgeAudit(*audited, where)) {
      if (!report(*std::move(wrong))) return absl::CancelledError("nobody listens any more");
    }
    v1::CheckEvent progress = Event(v1::CheckEvent::PROGRESS, StrCat(chunks, " of ", all_chunks, " chunks"));
    progress.set_chunks_checked(chunks);
    progress.set_documents_checked(documents);
    progress.set_findings(found);
    if (!emit(std::move(progress))) return absl::CancelledError("nobody listens any more");
  }
  std::string text =
      found == 0 ? "no problem found: " : StrCat(found, found == 1 ? " problem found: " : " problems found: ");
  StrAppend(&text, FormatCount(chunks), chunks == 1 ? " chunk, " : " chunks, ");
  StrAppend(&text, request.skip_documents()
                       ? std::string("documents not read")
                       : StrCat(FormatCount(documents), documents == 1 ? " document read" : " documents read"));
  v1::CheckEvent summary = Event(v1::CheckEvent::SUMMARY, std::move(text));
  summary.set_chunks_checked(chunks);
  summary.set_documents_checked(documents);
  summary.set_findings(found);
  emit(std::move(summary));
  return absl::OkStatus();
}

}  // namespace terrane::metadata
