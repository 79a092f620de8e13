#include "shard/import_manager.h"

#include <utility>

#include "common/status.h"
#include "rpc/status.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

template <typename Strings>
std::vector<std::string> ToVector(const Strings& strings) {
  return {strings.begin(), strings.end()};
}

}  // namespace

ImportManager::ImportManager(Options options) : options_(std::move(options)) {}

ImportManager::~ImportManager() {
  Stop();
}

void ImportManager::LeaderStopped() {
  std::lock_guard lock(mutex_);
  for (auto& [copy, driver] : drivers_) {
    driver->BeginStop();
    ending_.push_back(std::move(driver));
  }
  drivers_.clear();
}

void ImportManager::Stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  LeaderStopped();
  std::vector<std::shared_ptr<ImportDriver>> ending;
  {
    std::lock_guard lock(mutex_);
    ending.swap(ending_);
  }
}

// Requires the lock.
std::vector<std::shared_ptr<ImportDriver>> ImportManager::Reap() {
  const std::shared_ptr<const Ownership> ownership = options_.host.ownership();
  for (auto it = drivers_.begin(); it != drivers_.end();) {
    const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(it->first);
    if (chunks.size() == 1 && chunks.front()->import) {
      ++it;
      continue;
    }
    it->second->BeginStop();
    ending_.push_back(std::move(it->second));
    it = drivers_.erase(it);
  }
  std::vector<std::shared_ptr<ImportDriver>> ended;
  std::vector<std::shared_ptr<ImportDriver>> ending;
  for (std::shared_ptr<ImportDriver>& driver : ending_) {
    (driver.use_count() == 1 && driver->ended() ? ended : ending).push_back(std::move(driver));
  }
  ending_ = std::move(ending);
  return ended;
}

absl::StatusOr<OwnedChunk> ImportManager::Record(const MoveRef& move, CopyId copy) const {
  TERRANE_RETURN_IF_ERROR(options_.serving());
  const std::shared_ptr<const Ownership> ownership = options_.host.ownership();
  const std::vector<const OwnedChunk*> chunks = ownership->OfCopy(copy);
  if (chunks.size() == 1 && chunks.front()->import && chunks.front()->move.id == move.id && !ownership->IsDead(move)) {
    return *chunks.front();
  }
  if (ownership->IsDead(move)) {
    return rpc::WithReason(
        FailedPrecondition("attempt ", move.attempt.value(), " of migration ", move.id.value(), " has ended"),
        v1::ErrorDetail::STALE_ATTEMPT);
  }
  return NotFound("copy ", copy.value(), " is not prepared here for migration ", move.id.value());
}

absl::StatusOr<std::shared_ptr<ImportDriver>> ImportManager::Driver(const v1::MoveRef& move, CopyId copy,
                                                                    std::vector<std::string> endpoints) {
  const MoveRef ref = FromProto(move);
  std::vector<std::shared_ptr<ImportDriver>> ended;  // destroyed behind the lock
  std::lock_guard lock(mutex_);
  if (stopped_) return Unavailable("the shard is stopping");
  // Here, where LeaderStopped cannot come in between: it comes only after this would say no.
  TERRANE_RETURN_IF_ERROR(options_.serving());
  ended = Reap();
  std::shared_ptr<ImportDriver>& driver = drivers_[copy];
  if (driver != nullptr) {
    driver->Renew(ref, std::move(endpoints));
  } else {
    driver = std::make_shared<ImportDriver>(options_.host, options_.make_source(std::move(endpoints)), copy, ref,
                                            options_.driver, completing_);
  }
  return driver;
}

absl::StatusOr<v1::ImportStatus> ImportManager::Import(const v1::ImportStep& step) {
  const CopyId copy(step.copy_id());
  TERRANE_RETURN_IF_ERROR(Record(FromProto(step.move()), copy).status());
  TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<ImportDriver> driver,
                           Driver(step.move(), copy, ToVector(step.source_endpoints())));
  return driver->Status();
}

absl::StatusOr<v1::VerifyStatus> ImportManager::Verify(const v1::VerifyStep& step) {
  const CopyId copy(step.copy_id());
  TERRANE_RETURN_IF_ERROR(Record(FromProto(step.move()), copy).status());
  TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<ImportDriver> driver,
                           Driver(step.move(), copy, ToVector(step.source_endpoints())));
  return driver->Verify(step.restart());
}

absl::StatusOr<EntryResult> ImportManager::Complete(const v1::CompleteStep& step, MonotonicTime deadline) {
  const CopyId copy(step.copy_id());
  TERRANE_ASSIGN_OR_RETURN(const OwnedChunk chunk, Record(FromProto(step.move()), copy));
  if (chunk.state != ChunkState::kImporting && chunk.fence == Position(step.fence())) {
    return EntryResult{
        .outcome = Outcome::kAlready, .position = chunk.import->complete, .digest = chunk.fence_digest, .why = {}};
  }
  TERRANE_ASSIGN_OR_RETURN(std::shared_ptr<ImportDriver> driver,
                           Driver(step.move(), copy, ToVector(step.source_endpoints())));
  return driver->Complete(step, deadline - Clock::System()->Now());
}

void ImportManager::AttemptEnded(const MoveRef& move, CopyId copy) {
  std::lock_guard lock(mutex_);
  auto it = drivers_.find(copy);
  if (it == drivers_.end() || !it->second->BeginStopOf(move)) return;
  ending_.push_back(std::move(it->second));
  drivers_.erase(it);
}

}  // namespace terrane::shard
