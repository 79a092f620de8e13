#include "support/memory_store.h"

#include <algorithm>

#include "common/status.h"
#include "storage/keys.h"
#include "terrane/v1/shard_log.pb.h"
#include "xxhash.h"

namespace terrane::storage {
namespace {

using Iterator = MemoryRecords::const_iterator;

RawRange OplogRange(Position from) {
  return {OplogKey(from), std::nullopt};
}

// A walk over the records of a raw range. Keeps what it walks over.
class Walk {
 public:
  Walk(std::shared_ptr<const MemoryRecords> records, const RawRange& range)
      : records_(std::move(records)), at_(records_->lower_bound(range.min)) {
    end_ = range.max ? records_->lower_bound(*range.max) : records_->end();
  }
  bool Valid() const { return at_ != end_; }
  void Next() { ++at_; }
  const std::string& key() const { return at_->first; }
  const std::string& value() const { return at_->second; }

 private:
  std::shared_ptr<const MemoryRecords> records_;
  Iterator at_, end_;
};

class Documents final : public DocumentCursor {
 public:
  explicit Documents(Walk walk) : begin_(walk), walk_(std::move(walk)) { Parse(); }
  bool Valid() const override { return walk_.Valid(); }
  void Next() override {
    walk_.Next();
    Parse();
  }
  absl::Status status() const override { return absl::OkStatus(); }
  std::string_view shard_key() const override { return parts_.shard_key; }
  std::string_view id() const override { return parts_.id; }
  std::string_view document() const override { return walk_.value(); }
  void Seek(std::string_view shard_key, std::string_view id) override { SeekTo(shard_key, id, /*after=*/false); }
  void SeekAfter(std::string_view shard_key, std::string_view id) override { SeekTo(shard_key, id, /*after=*/true); }

 private:
  void SeekTo(std::string_view shard_key, std::string_view id, bool after) {
    walk_ = begin_;
    Parse();
    auto before = [&] {
      if (parts_.shard_key != shard_key) return parts_.shard_key < shard_key;
      return after ? parts_.id <= id : parts_.id < id;
    };
    while (walk_.Valid() && before()) Next();
  }
  void Parse() {
    if (walk_.Valid()) parts_ = *ParseDocumentKey(walk_.key());
  }
  const Walk begin_;
  Walk walk_;
  DocumentKeyParts parts_;
};

class Retries final : public RetryCursor {
 public:
  explicit Retries(Walk walk) : walk_(std::move(walk)) { Parse(); }
  bool Valid() const override { return walk_.Valid(); }
  void Next() override {
    walk_.Next();
    Parse();
  }
  absl::Status status() const override { return absl::OkStatus(); }
  std::string_view shard_key() const override { return parts_.shard_key; }
  std::string_view id() const override { return parts_.id; }
  std::string_view session() const override { return parts_.session; }
  int64_t statement() const override { return parts_.statement; }
  std::string_view record() const override { return walk_.value(); }

 private:
  void Parse() {
    if (walk_.Valid()) parts_ = *ParseRetryKey(walk_.key());
  }
  Walk walk_;
  RetryKeyParts parts_;
};

class Oplog final : public OplogCursor {
 public:
  explicit Oplog(Walk walk) : walk_(std::move(walk)) {}
  bool Valid() const override { return walk_.Valid(); }
  void Next() override { walk_.Next(); }
  absl::Status status() const override { return absl::OkStatus(); }
  Position position() const override { return *ParseOplogKey(walk_.key()); }
  std::string_view entry() const override { return walk_.value(); }

 private:
  Walk walk_;
};

std::optional<std::string> Lookup(const MemoryRecords& records, std::string_view key) {
  auto found = records.find(key);
  return found == records.end() ? std::nullopt : std::optional(found->second);
}

std::vector<FoundRetry> FindIn(const MemoryRecords& records, std::span<const CopyId> copies, std::string_view session,
                               int64_t statement) {
  std::vector<FoundRetry> found;
  for (const auto& [key, value] : records) {
    const auto parts = ParseRetryKey(key);
    if (!parts || parts->session != session || parts->statement != statement) continue;
    if (std::find(copies.begin(), copies.end(), parts->copy) == copies.end()) continue;
    found.push_back({parts->copy, std::string(parts->shard_key), std::string(parts->id), value});
  }
  return found;
}

class View final : public ReadView {
 public:
  View(MemoryData data, CopyReferences references) : data_(std::move(data)), references_(std::move(references)) {}

  Position AppliedPosition() const override { return data_.applied; }
  absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                         std::string_view id) const override {
    return Lookup(data_.Of(MemoryFamily::kDocuments), DocumentKey(copy, shard_key, id));
  }
  absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key, std::string_view id,
                                                      std::string_view session, int64_t statement) const override {
    return Lookup(data_.Of(MemoryFamily::kRetries), RetryKey(copy, shard_key, id, session, statement));
  }
  absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                    int64_t statement) const override {
    return FindIn(data_.Of(MemoryFamily::kRetries), copies, session, statement);
  }
  absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) const override {
    return Lookup(data_.Of(MemoryFamily::kState), name);
  }
  std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range, bool) const override {
    return std::make_unique<storage::Documents>(Over(MemoryFamily::kDocuments, DocumentRange(copy, range)));
  }
  std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) const override {
    return std::make_unique<storage::Retries>(Over(MemoryFamily::kRetries, RetryRange(copy, range)));
  }
  Position FirstOplogPosition() const override { return data_.first_oplog; }
  absl::StatusOr<std::optional<std::string>> GetOplog(Position position) const override {
    TERRANE_RETURN_IF_ERROR(CheckKept(position));
    return Lookup(data_.Of(MemoryFamily::kOplog), OplogKey(position));
  }
  absl::StatusOr<std::unique_ptr<OplogCursor>> Oplog(Position from) const override {
    TERRANE_RETURN_IF_ERROR(CheckKept(from));
    return std::make_unique<storage::Oplog>(Over(MemoryFamily::kOplog, OplogRange(from)));
  }

 private:
  absl::Status CheckKept(Position position) const {
    if (position >= data_.first_oplog) return absl::OkStatus();
    return MakeStatus(absl::StatusCode::kOutOfRange, "the oplog begins at ", data_.first_oplog.value());
  }
  Walk Over(MemoryFamily family, const RawRange& range) const {
    return Walk(data_.families[static_cast<size_t>(family)], range);
  }
  const MemoryData data_;
  const CopyReferences references_;
};

}  // namespace

MemoryData::MemoryData() {
  for (auto& family : families) family = std::make_shared<MemoryRecords>();
}

MemoryRecords& MemoryData::Mutable(MemoryFamily family) {
  auto& records = families[static_cast<size_t>(family)];
  if (records.use_count() > 1) records = std::make_shared<MemoryRecords>(*records);
  return *records;
}

// Reads go to the batch first (trap T70).
class MemoryBatch final : public ApplyBatch {
 public:
  explicit MemoryBatch(MemoryStore* store) : store_(*store) {}

  absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                         std::string_view id) override {
    return Get(MemoryFamily::kDocuments, DocumentKey(copy, shard_key, id));
  }
  void PutDocument(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view document) override {
    Write(MemoryFamily::kDocuments, DocumentKey(copy, shard_key, id), std::string(document));
  }
  void DeleteDocument(CopyId copy, std::string_view shard_key, std::string_view id) override {
    Write(MemoryFamily::kDocuments, DocumentKey(copy, shard_key, id), std::nullopt);
  }
  std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range) override {
    return std::make_unique<storage::Documents>(Walk(Merged(MemoryFamily::kDocuments), DocumentRange(copy, range)));
  }
  absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key, std::string_view id,
                                                      std::string_view session, int64_t statement) override {
    return Get(MemoryFamily::kRetries, RetryKey(copy, shard_key, id, session, statement));
  }
  absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                    int64_t statement) override {
    return FindIn(*Merged(MemoryFamily::kRetries), copies, session, statement);
  }
  void PutRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                int64_t statement, std::string_view record) override {
    Write(MemoryFamily::kRetries, RetryKey(copy, shard_key, id, session, statement), std::string(record));
  }
  void DeleteRetry(CopyId copy, std::string_view shard_key, std::string_view id, std::string_view session,
                   int64_t statement) override {
    Write(MemoryFamily::kRetries, RetryKey(copy, shard_key, id, session, statement), std::nullopt);
  }
  std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) override {
    return std::make_unique<storage::Retries>(Walk(Merged(MemoryFamily::kRetries), RetryRange(copy, range)));
  }
  void PutIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                     std::string_view id) override {
    Write(MemoryFamily::kIndexes, IndexKey(copy, index, values, shard_key, id), "");
  }
  void DeleteIndexEntry(CopyId copy, uint32_t index, std::string_view values, std::string_view shard_key,
                        std::string_view id) override {
    Write(MemoryFamily::kIndexes, IndexKey(copy, index, values, shard_key, id), std::nullopt);
  }
  void PutOplog(Position position, std::string_view entry) override {
    Write(MemoryFamily::kOplog, OplogKey(position), std::string(entry));
  }
  absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) override {
    return Get(MemoryFamily::kState, std::string(name));
  }
  void PutState(std::string_view name, std::string_view value) override {
    Write(MemoryFamily::kState, std::string(name), std::string(value));
  }
  void DeleteState(std::string_view name) override { Write(MemoryFamily::kState, std::string(name), std::nullopt); }
  void MarkIngested(std::span<const std::string>) override {}
  size_t SizeBytes() const override { return bytes_; }

  absl::Status Commit(Position applied) override {
    if (applied < store_.AppliedPosition()) return Internal("the applied position goes back");
    MemoryStore::Step step;
    step.changes = std::exchange(changes_, {});
    step.applied = applied;
    for (auto& overlay : overlay_) overlay.clear();
    bytes_ = 0;
    store_.Do(std::move(step));
    return absl::OkStatus();
  }

 private:
  std::optional<std::string> Get(MemoryFamily family, const std::string& key) const {
    const auto& overlay = overlay_[static_cast<size_t>(family)];
    if (auto written = overlay.find(key); written != overlay.end()) return written->second;
    return Lookup(store_.data().Of(family), key);
  }
  void Write(MemoryFamily family, std::string key, std::optional<std::string> value) {
    bytes_ += key.size() + (value ? value->size() : 0);
    overlay_[static_cast<size_t>(family)][key] = value;
    changes_.push_back({family, std::move(key), std::move(value)});
  }
  std::shared_ptr<const MemoryRecords> Merged(MemoryFamily family) const {
    auto merged = std::make_shared<MemoryRecords>(store_.data().Of(family));
    for (const auto& [key, value] : overlay_[static_cast<size_t>(family)]) {
      if (value) {
        (*merged)[key] = *value;
      } else {
        merged->erase(key);
      }
    }
    return merged;
  }

  MemoryStore& store_;
  std::vector<MemoryChange> changes_;
  std::array<std::map<std::string, std::optional<std::string>>, kMemoryFamilies> overlay_;
  size_t bytes_ = 0;
};

namespace {

class Writer final : public SegmentWriter {
 public:
  Writer(MemorySegments* segments, CopyId copy, std::string name)
      : segments_(*segments), copy_(copy), name_(std::move(name)) {}

  absl::Status AddDocument(std::string_view shard_key, std::string_view id, std::string_view document) override {
    digest_.AddDocument(shard_key, id, document);
    return Add(MemoryFamily::kDocuments, DocumentKey(copy_, shard_key, id), document);
  }
  absl::Status AddRetry(std::string_view shard_key, std::string_view id, std::string_view session, int64_t statement,
                        std::string_view record) override {
    digest_.AddRetry(shard_key, id, record);
    return Add(MemoryFamily::kRetries, RetryKey(copy_, shard_key, id, session, statement), record);
  }
  absl::Status AddIndexEntry(uint32_t index, std::string_view values, std::string_view shard_key,
                             std::string_view id) override {
    files_[static_cast<size_t>(MemoryFamily::kIndexes)][IndexKey(copy_, index, values, shard_key, id)] = "";
    return absl::OkStatus();
  }
  int64_t AddedBytes() const override { return bytes_; }

  absl::StatusOr<BuiltSegment> Finish() override {
    static constexpr std::string_view kNames[] = {"documents", "retries", "indexes"};
    BuiltSegment built;
    built.digest = digest_;
    for (size_t i = 0; i < std::size(kNames); ++i) {
      if (files_[i].empty()) continue;
      auto content = std::make_shared<MemorySegment>();
      SegmentFile file{.name = StrCat(name_, "-", kNames[i]), .family = std::string(kNames[i]), .bytes = 0};
      for (const auto& [key, value] : files_[i]) {
        file.bytes += static_cast<int64_t>(key.size() + value.size());
        file.checksum += XXH3_64bits(key.data(), key.size()) ^ XXH3_64bits(value.data(), value.size());
        content->push_back({static_cast<MemoryFamily>(i), key, value});
      }
      segments_[file.name] = std::move(content);
      built.bytes += file.bytes;
      built.files.push_back(std::move(file));
    }
    return built;
  }

 private:
  absl::Status Add(MemoryFamily family, std::string key, std::string_view value) {
    MemoryRecords& records = files_[static_cast<size_t>(family)];
    if (!records.empty() && records.rbegin()->first >= key)
      return InvalidArgument("records of a segment are not in order");
    bytes_ += static_cast<int64_t>(key.size() + value.size());
    records.emplace_hint(records.end(), std::move(key), value);
    return absl::OkStatus();
  }

  MemorySegments& segments_;
  const CopyId copy_;
  const std::string name_;
  std::array<MemoryRecords, 3> files_;
  ChunkDigest digest_;
  int64_t bytes_ = 0;
};

}  // namespace

MemoryStore::MemoryStore(MemoryStoreOptions options)
    : options_(std::move(options)),
      current_(std::make_shared<MemoryData>()),
      references_(std::make_shared<CopyReferenceTable>([] {})) {}

MemoryStore::~MemoryStore() {
  references_->Detach();
}

void MemoryStore::Redo(const Step& step, MemoryData* data) {
  if (step.replaced) *data = *step.replaced;
  for (const MemoryChange& change : step.changes) {
    MemoryRecords& records = data->Mutable(change.family);
    if (change.value) {
      records.insert_or_assign(change.key, *change.value);
    } else {
      records.erase(change.key);
    }
  }
  if (step.applied) data->applied = *step.applied;
  if (step.trimmed) {
    MemoryRecords& oplog = data->Mutable(MemoryFamily::kOplog);
    oplog.erase(oplog.begin(), oplog.lower_bound(OplogKey(*step.trimmed)));
    data->first_oplog = *step.trimmed;
  }
}

void MemoryStore::Do(Step step) {
  Redo(step, current_.get());
  pending_.push_back(std::move(step));
}

void MemoryStore::PowerCut(size_t kept) {
  for (; kept > 0 && !pending_.empty(); --kept) {
    Redo(pending_.front(), &durable_);
    pending_.pop_front();
  }
  pending_.clear();
  drops_.clear();
  *current_ = durable_;
  references_->Detach();
  references_ = std::make_shared<CopyReferenceTable>([] {});
}

absl::StatusOr<Position> MemoryStore::MakeDurable() {
  // Not shared with what is current: each would copy the whole at its next change.
  for (const Step& step : pending_) Redo(step, &durable_);
  pending_.clear();
  return durable_.applied;
}

void MemoryStore::RunJanitor() {
  std::vector<Drop> waiting;
  for (Drop& drop : std::exchange(drops_, {})) {
    // A part goes at once: views that are open do not see it go.
    if (!drop.range && !references_->Free(drop.copy)) {
      waiting.push_back(std::move(drop));
      continue;
    }
    Step step;
    const KeyRange range = drop.range.value_or(KeyRange());
    for (auto [family, raw] : {std::pair(MemoryFamily::kDocuments, DocumentRange(drop.copy, range)),
                               std::pair(MemoryFamily::kRetries, RetryRange(drop.copy, range))}) {
      for (Walk walk(current_->families[static_cast<size_t>(family)], raw); walk.Valid(); walk.Next()) {
        step.changes.push_back({family, walk.key(), std::nullopt});
      }
    }
    Do(std::move(step));
    if (!drop.range) references_->Reopen(drop.copy);
    drop.done(absl::OkStatus());
  }
  for (Drop& drop : drops_) waiting.push_back(std::move(drop));
  drops_ = std::move(waiting);
}

void MemoryStore::Damage(MemoryFamily family, const std::string& key, std::string value) {
  for (MemoryData* data : {current_.get(), &durable_}) {
    MemoryRecords& records = data->Mutable(family);
    if (auto found = records.find(key); found != records.end()) found->second = value;
  }
}

std::unique_ptr<ApplyBatch> MemoryStore::NewBatch() {
  return std::make_unique<MemoryBatch>(this);
}

absl::StatusOr<CopyReferences> MemoryStore::Reference(std::span<const CopyId> copies) {
  return references_->Take(copies);
}

std::shared_ptr<const ReadView> MemoryStore::View(CopyReferences references) {
  return std::make_shared<const storage::View>(*current_, std::move(references));
}

absl::Status MemoryStore::TakeCheckpoint(const std::filesystem::path& directory) {
  (*options_.checkpoints)[directory.string()] = *current_;
  return absl::OkStatus();
}

absl::Status MemoryStore::InstallCheckpoint(const std::filesystem::path& directory) {
  auto found = options_.checkpoints->find(directory.string());
  if (found == options_.checkpoints->end()) return NotFound("no checkpoint ", directory.string());
  drops_.clear();
  references_->ReopenAll();
  Step step;
  step.replaced = found->second;
  Do(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SegmentWriter>> MemoryStore::NewSegment(CopyId copy, std::string_view label) {
  return std::make_unique<Writer>(options_.segments, copy,
                                  StrCat("c", copy.value(), "-", label, "-", options_.name, "-", ++next_segment_));
}

std::vector<std::string> MemoryStore::Missing(std::span<const SegmentFile> files) const {
  std::vector<std::string> missing;
  for (const SegmentFile& file : files) {
    if (!options_.segments->contains(file.name)) missing.push_back(file.name);
  }
  return missing;
}

absl::Status MemoryStore::Ingest(std::span<const SegmentFile> files) {
  if (auto missing = Missing(files); !missing.empty()) return NotFound("segment file ", missing.front(), " is missing");
  Step step;
  for (const SegmentFile& file : files) {
    const MemorySegment& content = *options_.segments->at(file.name);
    step.changes.insert(step.changes.end(), content.begin(), content.end());
  }
  // What came before is made durable first (trap T61), the files are durable themselves.
  Do(std::move(step));
  return MakeDurable().status();
}

void MemoryStore::RemoveSegmentFiles(const std::function<bool(std::string_view)>& garbage) {
  std::erase_if(*options_.segments, [&](const auto& file) { return garbage(file.first); });
}

void MemoryStore::RemoveSegmentFiles(CopyId copy) {
  const std::string prefix = StrCat("c", copy.value(), "-");
  std::erase_if(*options_.segments, [&](const auto& file) { return file.first.starts_with(prefix); });
}

void MemoryStore::ScheduleDrop(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done) {
  if (!range) references_->Close(copy);
  drops_.push_back({copy, std::move(range), std::move(done)});
}

absl::Status MemoryStore::TrimOplog(Position position) {
  Step step;
  step.trimmed = position;
  Do(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<CopyOnDisk>> MemoryStore::ListCopies() const {
  std::map<CopyId, uint64_t> bytes;
  for (const auto& [key, value] : current_->Of(MemoryFamily::kDocuments)) bytes[*CopyOfKey(key)] += value.size();
  for (const auto& [key, value] : current_->Of(MemoryFamily::kRetries)) bytes[*CopyOfKey(key)] += value.size();
  std::vector<CopyOnDisk> copies;
  for (const auto& [copy, size] : bytes) copies.push_back({copy, size});
  return copies;
}

uint64_t MemoryStore::EstimateBytes(CopyId copy, const KeyRange& range) const {
  uint64_t bytes = 0;
  for (Walk walk(current_->families[0], DocumentRange(copy, range)); walk.Valid(); walk.Next()) {
    bytes += walk.value().size();
  }
  return bytes;
}

absl::StatusOr<std::string> MemoryStore::MiddleKey(CopyId copy, const KeyRange& range) {
  std::vector<std::string> keys;
  for (Walk walk(current_->families[0], DocumentRange(copy, range)); walk.Valid(); walk.Next()) {
    std::string key(ParseDocumentKey(walk.key())->shard_key);
    if (keys.empty() || keys.back() != key) keys.push_back(std::move(key));
  }
  if (keys.size() < 2) return FailedPrecondition("the range has no middle");
  return keys[keys.size() / 2];
}

}  // namespace terrane::storage
