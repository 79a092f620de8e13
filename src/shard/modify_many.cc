// Changes or deletes every match of a range, a page at a time; each document by itself.
//
// A page finds its candidates in a snapshot, latches them all, looks at each again and puts the changes into few
// entries. It goes on at `resume`, never from the start (trap T21). A document that bears a record of the statement is
// passed over, and what the record says is counted. A page ends early when its changes are large, however small the
// documents were: what they become is all in memory until it is proposed.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "common/status.h"
#include "shard/write_operation.h"
#include "shard/write_path.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
using replication::ProposeResult;

namespace {

constexpr size_t kPageDocuments = 512;
constexpr size_t kPageBytes = 4 << 20;
constexpr size_t kChangedBytes = 16 << 20;  // that the changes of a page reach
constexpr size_t kMaxScannedBytes = 64 << 20;
constexpr int kCheckEvery = 256;

using Key = std::pair<std::string, std::string>;  // encoded shard key, encoded id

class ModifyManyOperation : public WriteOperation {
 public:
  ModifyManyOperation(const Core* core, CallState call, const v1::ShardModifyManyRequest* request,
                      v1::ShardModifyManyResponse* response, DoneCallback done)
      : WriteOperation(core, std::move(call), &request->route(), std::move(done)),
        request_(*request),
        response_(*response) {}

  void Start() {
    if (absl::Status status = Prepare(); !status.ok()) return Finish(status);
    if (request_.limit() == 0 || !request_.has_retry()) return LookAfterEarlyWrites();
    // A limited one chooses its documents; a retry must find the choice of the first (trap T67).
    core_.latches->Acquire({StatementLatch(copy(), request_.retry().session(), request_.retry().statement())},
                           [self = Self()](Latches::Hold hold) {
                             self->statement_ = std::move(hold);
                             self->LookAfterEarlyWrites();
                           });
  }

 private:
  // The changes of some documents of the page, in key order.
  struct Part {
    v1::ShardEntry entry;
    Key last;
  };

  std::shared_ptr<ModifyManyOperation> Self() {
    return std::static_pointer_cast<ModifyManyOperation>(shared_from_this());
  }

  absl::Status CheckOwned() const override { return CheckRange(core_, route_, range_, true); }

  absl::Status Prepare() {
    if (request_.limit() < 0) return InvalidArgument("limit must not be negative");
    TERRANE_ASSIGN_OR_RETURN(
        range_,
        RequestedRange(request_.route(), request_.has_range() ? &request_.range() : nullptr, request_.resume()));
    const size_t bytes = request_.kind() == v1::ShardModifyRequest::DELETE ? 0 : request_.update().size() + 1;
    TERRANE_RETURN_IF_ERROR(Admit(bytes));
    TERRANE_ASSIGN_OR_RETURN(modification_,
                             Modification::Parse(core_, copy(), request_.kind(), request_.filter(), request_.update()));
    return absl::OkStatus();
  }

  void LookAfterEarlyWrites() {
    AfterEarlyWrites([self = Self()] { self->Look(); });
  }

  void Look() {
    if (absl::Status status = FindCandidates(); !status.ok()) return End(status);
    std::vector<std::string> latches;
    for (const Key& key : candidates_) latches.push_back(DocumentLatch(copy(), key.first, key.second));
    core_.latches->Acquire(std::move(latches), [self = Self()](Latches::Hold hold) {
      self->hold_ = std::move(hold);
      self->Latched();
    });
  }

  absl::Status FindCandidates() {
    TERRANE_ASSIGN_OR_RETURN(const Ground ground, Stand());
    if (!request_.resume().empty()) {
      TERRANE_ASSIGN_OR_RETURN(const routing::ResumeKey from, DecodeResume(request_.resume()));
      from_ = Key(from.shard_key, from.id);
    }
    if (request_.limit() > 0) {
      left_ = request_.limit();
      if (request_.has_retry()) TERRANE_RETURN_IF_ERROR(CountChosenBefore(*ground.view));
      if (left_ <= 0) {
        page_done_ = true;
        return absl::OkStatus();
      }
    }
    auto cursor = ground.view->Documents(copy(), range_, /*for_scan=*/true);
    if (from_) cursor->SeekAfter(from_->first, from_->second);
    size_t bytes = 0;
    size_t scanned = 0;
    int visited = 0;
    for (; cursor->Valid(); cursor->Next()) {
      if (++visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
      scanned += cursor->document().size();
      last_ = Key(cursor->shard_key(), cursor->id());
      if (modification_.Matches(cursor->document())) {
        candidates_.push_back(*last_);
        bytes += cursor->document().size();
      }
      const bool limit_reached = left_ > 0 && candidates_.size() >= static_cast<size_t>(left_);
      if (limit_reached || candidates_.size() >= kPageDocuments || bytes >= kPageBytes || scanned >= kMaxScannedBytes) {
        return cursor->status();
      }
    }
    page_done_ = true;
    return cursor->status();
  }

  // For limited ones: what the first attempt has changed anywhere behind the beginning of the page, which is as much
  // less to choose. The page whose part of the range it lies in reports it (CountRecords); it may be that of another
  // request, where the chunk was split since, so the end of this one's range does not matter.
  absl::Status CountChosenBefore(const storage::ReadView& view) {
    const CopyId copies[] = {copy()};
    TERRANE_ASSIGN_OR_RETURN(const auto records,
                             view.FindRetry(copies, request_.retry().session(), request_.retry().statement()));
    for (const storage::FoundRetry& found : records) {
      if (found.shard_key < range_.min || (from_ && Key(found.shard_key, found.id) <= *from_)) continue;
      --left_;
    }
    return absl::OkStatus();
  }

  void Latched() {
    const auto ground = Stand();
    if (!ground.ok()) return End(ground.status());
    if (absl::Status status = Decide(*ground->view); !status.ok()) return End(status);
    if (parts_.empty()) return Answer(0);
    std::vector<v1::ShardEntry> entries;
    for (Part& part : parts_) entries.push_back(std::move(part.entry));
    Propose(ground->term, std::move(entries),
            [self = Self()](std::vector<ProposeResult> results) { self->Applied(results); });
  }

  absl::Status Decide(const storage::ReadView& view) {
    std::set<Key> passed_over;
    if (request_.has_retry()) TERRANE_RETURN_IF_ERROR(CountRecords(view, &passed_over));
    size_t bytes = 0;
    size_t changed_bytes = 0;
    const Key* previous = nullptr;
    for (const Key& key : candidates_) {
      if (changed_bytes >= kChangedBytes) {
        cut_ = *previous;
        return absl::OkStatus();
      }
      previous = &key;
      TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
      if (passed_over.contains(key)) continue;
      TERRANE_ASSIGN_OR_RETURN(const auto old, view.GetDocument(copy(), key.first, key.second));
      if (!old || !modification_.Matches(*old)) continue;
      v1::Change change;
      v1::RetryRecord counts;
      TERRANE_RETURN_IF_ERROR(Change(key, *old, &change, &counts));
      counted_[key] = counts;
      const bool nothing = change.document().empty() && !change.deleted();
      if (nothing && !request_.has_retry()) continue;
      if (parts_.empty() || bytes + change.document().size() > kMaxEntryBytes) {
        parts_.push_back({.entry = NewEntry(), .last = {}});
        bytes = 0;
      }
      parts_.back().last = key;
      bytes += change.document().size();
      changed_bytes += change.document().size();
      change.set_shard_key(key.first);
      change.set_id(key.second);
      if (request_.has_retry()) change.set_retry(NewRetry(request_.retry(), std::move(counts)));
      *parts_.back().entry.mutable_write()->add_changes() = std::move(change);
    }
    return absl::OkStatus();
  }

  absl::Status Change(const Key& key, std::string_view old, v1::Change* change, v1::RetryRecord* counts) {
    counts->set_matched(1);
    if (modification_.deletes()) {
      counts->set_deleted(1);
      change->set_deleted(true);
      return absl::OkStatus();
    }
    TERRANE_ASSIGN_OR_RETURN(std::string changed, modification_.Apply(old, key.first, core_.clock->Wall().count()));
    if (changed == old) return absl::OkStatus();
    counts->set_modified(1);
    change->set_document(std::move(changed));
    return absl::OkStatus();
  }

  // Records of this statement between the beginning and the end of the page, of deleted documents too.
  absl::Status CountRecords(const storage::ReadView& view, std::set<Key>* passed_over) {
    KeyRange page = range_;
    if (!page_done_ && last_) page.max = RangeOfKey(last_->first).max;
    if (request_.limit() > 0) {
      // No more of them than the limit, while the page may be all there is of a range with millions of other records.
      const CopyId copies[] = {copy()};
      TERRANE_ASSIGN_OR_RETURN(const auto records,
                               view.FindRetry(copies, request_.retry().session(), request_.retry().statement()));
      for (const storage::FoundRetry& found : records) {
        if (!page.Contains(found.shard_key)) continue;
        TERRANE_RETURN_IF_ERROR(CountRecord(Key(found.shard_key, found.id), found.record, passed_over));
      }
      return absl::OkStatus();
    }
    auto cursor = view.Retries(copy(), page);
    for (int visited = 1; cursor->Valid(); cursor->Next(), ++visited) {
      if (visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call_.Check(*core_.clock));
      if (cursor->session() != request_.retry().session() || cursor->statement() != request_.retry().statement()) {
        continue;
      }
      TERRANE_RETURN_IF_ERROR(CountRecord(Key(cursor->shard_key(), cursor->id()), cursor->record(), passed_over));
    }
    return cursor->status();
  }

  absl::Status CountRecord(Key key, std::string_view bytes, std::set<Key>* passed_over) {
    if ((from_ && key <= *from_) || (!page_done_ && last_ && key > *last_)) return absl::OkStatus();
    v1::RetryRecord record;
    if (!record.ParseFromString(std::string(bytes))) return DataLoss("a stored retry record is damaged");
    counted_[key] = std::move(record);
    passed_over->insert(std::move(key));
    return absl::OkStatus();
  }

  void Applied(const std::vector<ProposeResult>& results) {
    size_t applied = 0;
    while (applied < results.size() && core_.proposer->StatusOf(results[applied]).ok()) ++applied;
    for (const ProposeResult& result : results) {
      if (result.outcome == replication::ProposeOutcome::kUnknown) return End(core_.proposer->StatusOf(result));
    }
    if (applied == 0) return End(core_.proposer->StatusOf(results[0]));
    Answer(applied);
  }

  // The first `applied` parts stand; the rest, if any, was refused, and the next call begins there, or where the page
  // was cut.
  void Answer(size_t applied) {
    const Key* end = applied < parts_.size() ? &parts_[applied - 1].last : cut_ ? &*cut_ : nullptr;
    v1::RetryRecord sum;
    for (const auto& [key, counts] : counted_) {
      if (end == nullptr || key <= *end) Count(counts, &sum);
    }
    response_.set_matched(sum.matched());
    response_.set_modified(sum.modified());
    response_.set_deleted(sum.deleted());
    const bool limit_reached = request_.limit() > 0 && sum.matched() >= request_.limit();
    response_.set_done(end == nullptr && (page_done_ || limit_reached));
    if (!response_.done()) {
      if (end == nullptr) end = &*last_;
      response_.set_resume(EncodeResume(end->first, end->second));
    }
    End(absl::OkStatus());
  }

  static void Count(const v1::RetryRecord& counts, v1::RetryRecord* sum) {
    sum->set_matched(sum->matched() + counts.matched());
    sum->set_modified(sum->modified() + counts.modified());
    sum->set_deleted(sum->deleted() + counts.deleted());
  }

  void End(absl::Status status) {
    hold_.Release();
    statement_.Release();
    Finish(std::move(status));
  }

  const v1::ShardModifyManyRequest& request_;
  v1::ShardModifyManyResponse& response_;
  KeyRange range_;
  Modification modification_;
  Latches::Hold statement_;
  int64_t left_ = 0;         // of the limit; 0: there is none
  std::optional<Key> from_;  // the page begins behind it
  std::optional<Key> last_;  // and ends with it, unless page_done_
  bool page_done_ = false;   // nothing is left in the range
  std::optional<Key> cut_;   // the last one looked at, of a page whose changes are too large for the rest of it
  std::vector<Key> candidates_;
  std::map<Key, v1::RetryRecord> counted_;  // of the page
  std::vector<Part> parts_;
};

}  // namespace

void WritePath::ModifyMany(CallState call, const v1::ShardModifyManyRequest* request,
                           v1::ShardModifyManyResponse* response, DoneCallback done) {
  std::make_shared<ModifyManyOperation>(core_, std::move(call), request, response, std::move(done))->Start();
}

}  // namespace terrane::shard
