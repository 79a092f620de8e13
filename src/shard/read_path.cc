#include "shard/read_path.h"

#include <algorithm>
#include <utility>

#include "common/status.h"
#include "document/filter.h"
#include "document/projection.h"
#include "rpc/status.h"
#include "shard/request_gate.h"
#include "shard/state_records.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

constexpr int64_t kDefaultPageBytes = 1 << 20;
// Of the documents; with one more behind it the answer stays below the limit of a message.
constexpr int64_t kMaxPageBytes = 32 << 20;
// A page that finds little ends after so much reading, so that a call comes to its deadline and to other requests.
constexpr int64_t kMaxScannedBytes = 64 << 20;
constexpr int kCheckEvery = 256;  // documents
constexpr std::chrono::milliseconds kDefaultStaleness{10'000};
constexpr std::chrono::milliseconds kGreatestStaleness{std::chrono::hours(24 * 365)};  // in nanoseconds an int64, too

absl::StatusOr<document::Filter> ParseFilter(std::string_view bson) {
  if (bson.empty()) return document::Filter();
  auto filter = document::Filter::Parse(bson);
  if (!filter.ok()) return rpc::WithReason(filter.status(), v1::ErrorDetail::BAD_FILTER);
  return filter;
}

absl::StatusOr<document::Projection> ParseProjection(std::string_view bson) {
  if (bson.empty()) return document::Projection();
  return document::Projection::Parse(bson);
}

// Stands on the first document of the range behind `resume`.
absl::StatusOr<std::unique_ptr<storage::DocumentCursor>> OpenCursor(const storage::ReadView& view, CopyId copy,
                                                                    const KeyRange& range, std::string_view resume) {
  auto cursor = view.Documents(copy, range, /*for_scan=*/true);
  if (!resume.empty()) {
    TERRANE_ASSIGN_OR_RETURN(const routing::ResumeKey from, DecodeResume(resume));
    cursor->SeekAfter(from.shard_key, from.id);
  }
  return cursor;
}

}  // namespace

// Whether this replica may answer at all, before ownership is looked at.
absl::Status ReadPath::MayRead(const v1::ReadOptions& read) const {
  if (read.mode() != v1::FOLLOWER) return core_->proposer->ServingTerm().status();
  const replication::ReplicatedLog* log = core_->proposer->log();
  const auto contact = log == nullptr ? std::nullopt : log->LeaderContact();
  const std::chrono::milliseconds bound =
      read.max_staleness_ms() > 0 ? std::min(std::chrono::milliseconds(read.max_staleness_ms()), kGreatestStaleness)
                                  : kDefaultStaleness;
  if (contact && core_->clock->Now() - *contact <= bound) return absl::OkStatus();
  return rpc::WithReason(
      Unavailable("this replica has not been up to date with a leader within ", bound.count(), " ms"),
      v1::ErrorDetail::TOO_STALE);
}

void ReadPath::Begin(const CallState& call, const v1::Route* route, KeyRange range, const v1::ReadOptions& read,
                     std::function<void(absl::StatusOr<View>)> then) {
  if (read.mode() == v1::FOLLOWER || !core_->early_writes->Any()) return Look(call, route, range, read, then);
  // Whoever was told that it is written must find it.
  core_->early_writes->WhenEnded([this, call, route, range = std::move(range), read, then = std::move(then)] {
    if (core_->executor->Post([=, this] { Look(call, route, range, read, then); })) return;
    then(Unavailable("the server is overloaded or stopping"));
  });
}

void ReadPath::Look(const CallState& call, const v1::Route* route, KeyRange range, const v1::ReadOptions& read,
                    std::function<void(absl::StatusOr<View>)> then) {
  if (absl::Status status = call.Check(*core_->clock); !status.ok()) return then(status);
  if (absl::Status status = MayRead(read); !status.ok()) return then(status);
  core_->counts->reads.fetch_add(1, std::memory_order_relaxed);
  auto references = core_->store->Reference(CopyId(route->copy_id()));
  if (absl::Status status = CheckRange(*core_, *route, range, false); !status.ok()) return then(status);
  if (!references.ok()) return then(Unavailable("the copy is being removed"));
  // References keep a whole copy. Part of one is removed as soon as ownership says that it is elsewhere, so ownership
  // is asked for once more behind the view.
  const auto serve = [this, route, range, then](storage::CopyReferences held) {
    auto view = core_->store->View(std::move(held));
    absl::Status status = CheckRange(*core_, *route, range, false);
    status.ok() ? then(std::move(view)) : then(std::move(status));
  };
  if (read.mode() != v1::LINEARIZABLE) return serve(*std::move(references));
  const auto term = core_->proposer->ServingTerm();
  if (!term.ok()) return then(term.status());
  replication::ReplicatedLog* log = core_->proposer->log();
  if (log->HasLease() && log->Leader().term == *term) return serve(*std::move(references));
  auto held = std::make_shared<storage::CopyReferences>(*std::move(references));
  log->ReadIndex([this, call, held, serve, then](absl::Status status) {
    if (!status.ok()) return then(status);
    auto go_on = [this, call, held, serve, then] {
      // Fences that others have acknowledged before are applied here only now.
      if (absl::Status status = call.Check(*core_->clock); !status.ok()) return then(status);
      serve(std::move(*held));
    };
    if (!core_->executor->Post(go_on)) then(Unavailable("the server is overloaded or stopping"));
  });
}

void ReadPath::Get(const CallState& call, const v1::ShardGetRequest* request, v1::ShardGetResponse* response,
                   DoneCallback done) {
  const std::string_view key = request->key().shard_key();
  // First: a replica that nobody should ask knows nothing about ownership, and would say "elsewhere".
  if (absl::Status status = MayRead(request->read()); !status.ok()) return done(status);
  if (absl::Status status = CheckKeys(*core_, request->route(), {&key, 1}, false); !status.ok()) return done(status);
  Begin(call, &request->route(), RangeOfKey(key), request->read(),
        [this, request, response, done = std::move(done)](absl::StatusOr<View> view) {
          done(view.ok() ? ReadOne(*view, *request, response) : view.status());
        });
}

absl::Status ReadPath::ReadOne(const View& view, const v1::ShardGetRequest& request, v1::ShardGetResponse* response) {
  TERRANE_ASSIGN_OR_RETURN(const document::Projection projection, ParseProjection(request.projection()));
  TERRANE_ASSIGN_OR_RETURN(
      auto found, view->GetDocument(CopyId(request.route().copy_id()), request.key().shard_key(), request.key().id()));
  if (!found) return absl::OkStatus();
  if (!request.filter().empty()) {
    TERRANE_ASSIGN_OR_RETURN(const document::Filter filter, ParseFilter(request.filter()));
    if (!filter.Matches(*found)) return absl::OkStatus();
  }
  response->set_found(true);
  response->set_document(projection.keeps_everything() ? *std::move(found) : projection.Apply(*found));
  return absl::OkStatus();
}

void ReadPath::Scan(const CallState& call, const v1::ShardScanRequest* request, v1::ShardScanResponse* response,
                    DoneCallback done) {
  if (request->limit() < 0 || request->skip() < 0 || request->page_bytes() < 0) {
    return done(InvalidArgument("limit, skip and page_bytes must not be negative"));
  }
  auto range = RequestedRange(request->route(), request->has_range() ? &request->range() : nullptr, request->resume());
  if (!range.ok()) return done(range.status());
  Begin(call, &request->route(), *range, request->read(),
        [this, call, request, response, range = *range, done = std::move(done)](absl::StatusOr<View> view) {
          done(view.ok() ? ScanPage(call, *view, range, *request, response) : view.status());
        });
}

absl::Status ReadPath::ScanPage(const CallState& call, const View& view, const KeyRange& range,
                                const v1::ShardScanRequest& request, v1::ShardScanResponse* response) {
  TERRANE_ASSIGN_OR_RETURN(const document::Filter filter, ParseFilter(request.filter()));
  TERRANE_ASSIGN_OR_RETURN(const document::Projection projection, ParseProjection(request.projection()));
  TERRANE_ASSIGN_OR_RETURN(auto cursor, OpenCursor(*view, CopyId(request.route().copy_id()), range, request.resume()));
  const int64_t page_bytes =
      request.page_bytes() == 0 ? kDefaultPageBytes : std::min(request.page_bytes(), kMaxPageBytes);
  const bool everything = request.filter().empty();
  int64_t bytes = 0;
  int64_t scanned = 0;
  int64_t visited = 0;
  for (; cursor->Valid(); cursor->Next()) {
    if (++visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call.Check(*core_->clock));
    const std::string_view document = cursor->document();
    scanned += static_cast<int64_t>(document.size());
    if (everything || filter.Matches(document)) {
      if (response->skipped() < request.skip()) {
        response->set_skipped(response->skipped() + 1);
      } else {
        std::string* added = response->add_documents();
        *added = projection.keeps_everything() ? std::string(document) : projection.Apply(document);
        bytes += static_cast<int64_t>(added->size());
      }
    }
    const bool limit_reached = request.limit() > 0 && response->documents_size() >= request.limit();
    if (limit_reached || bytes >= page_bytes || scanned >= kMaxScannedBytes) {
      response->set_resume(EncodeResume(cursor->shard_key(), cursor->id()));
      cursor->Next();
      response->set_done(!cursor->Valid() && cursor->status().ok());
      return cursor->status();
    }
  }
  response->set_done(true);
  return cursor->status();
}

void ReadPath::Count(const CallState& call, const v1::ShardCountRequest* request, v1::ShardCountResponse* response,
                     DoneCallback done) {
  auto range = RequestedRange(request->route(), request->has_range() ? &request->range() : nullptr, request->resume());
  if (!range.ok()) return done(range.status());
  Begin(call, &request->route(), *range, request->read(),
        [this, call, request, response, range = *range, done = std::move(done)](absl::StatusOr<View> view) {
          done(view.ok() ? CountPage(call, *view, range, *request, response) : view.status());
        });
}

absl::Status ReadPath::CountPage(const CallState& call, const View& view, const KeyRange& range,
                                 const v1::ShardCountRequest& request, v1::ShardCountResponse* response) {
  const CopyId copy(request.route().copy_id());
  const bool everything = request.filter().empty();
  if (everything && request.resume().empty()) {
    // Whole chunks know their count; the records are of the same moment as the view.
    TERRANE_ASSIGN_OR_RETURN(const Ownership ownership, LoadOwnership(*view));
    int64_t count = 0;
    bool whole = true;
    for (const OwnedChunk* chunk : ownership.OfCopy(copy)) {
      if (!chunk->range.Overlaps(range)) continue;
      whole = whole && range.Contains(chunk->range);
      count += chunk->digest.documents.count;
    }
    if (whole) {
      response->set_count(count);
      response->set_done(true);
      return absl::OkStatus();
    }
  }
  TERRANE_ASSIGN_OR_RETURN(const document::Filter filter, ParseFilter(request.filter()));
  TERRANE_ASSIGN_OR_RETURN(auto cursor, OpenCursor(*view, copy, range, request.resume()));
  int64_t scanned = 0;
  int64_t visited = 0;
  for (; cursor->Valid(); cursor->Next()) {
    if (++visited % kCheckEvery == 0) TERRANE_RETURN_IF_ERROR(call.Check(*core_->clock));
    if (everything || filter.Matches(cursor->document())) response->set_count(response->count() + 1);
    scanned += static_cast<int64_t>(cursor->document().size());
    if (scanned >= kMaxScannedBytes) {
      response->set_resume(EncodeResume(cursor->shard_key(), cursor->id()));
      return cursor->status();
    }
  }
  response->set_done(true);
  return cursor->status();
}

}  // namespace terrane::shard
