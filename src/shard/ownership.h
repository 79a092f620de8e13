// What this shard owns, and what it may do with it: the ownership gate and the rules of a switch.
//
// Pure: no thread, clock, disk or socket. The apply thread feeds it the entries of the shard's log in order; from the
// same entries every replica comes to the same state. Request threads ask an immutable copy of it (Applier::View).
//
// One record (OwnedChunk) per chunk and copy. The states, with the entries that lead from one to another:
//
//   CreateChunk --> OWNED <------------- EndAttempt, proof ----------------+
//                     | F                                                  |
//                     +--> WRITE_FENCED -- G --> READ_FENCED --------------+
//                                |                    |
//                                +---- ReleaseCopy ---+--> RELEASED -- DropCopy --> gone
//
//   PrepareCopy --> IMPORTING -- K --> COMPLETE -- OwnCopy, proof --> OWNED
//                     |   ^                |
//                     |   +-- EndAttempt --+
//                     +-- EndAttempt{abort}, DropCopy --> gone
//
// proof: a request or write entry that names this very copy with a greater token than the recorded one. A copy id is
// published as an owner only by the commit of the move that made it, so both together prove the commit (or, on a
// fenced source, the end of the attempt). A token alone proves nothing (trap T54).
//
// Every Apply* may run twice: the second time it answers kAlready with the first time's position. A refused entry
// changes nothing, but for EndAttempt, which always marks the attempt as dead.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "storage/digest.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

using storage::ChunkDigest;

// What a step of a move belongs to.
struct MoveRef {
  MigrationId id;
  Attempt attempt;
  friend bool operator==(const MoveRef&, const MoveRef&) = default;
};

enum class ChunkState { kOwned, kWriteFenced, kReadFenced, kImporting, kComplete, kReleased };
std::string_view StateName(ChunkState state);

// The sum over what was written to [min, at) since the split began.
struct SideSum {
  Position begin;
  std::string at;
  ChunkDigest sum;
};

struct ImportedSegment {
  KeyRange range;
  Position position;  // of the source, that the data in `range` reflects
  int64_t bytes = 0;
  int64_t documents = 0;
};

struct Import {
  std::string source;
  CopyId source_copy;
  Position pin;                           // no segment may reflect less
  Position cursor;                        // the source's oplog is applied up to here; 0: the tail has not begun
  std::vector<ImportedSegment> segments;  // disjoint, ascending
  KeyRange open_range;                    // being written again; meaningful when open_position > 0
  Position open_position;
  Position complete;  // K
  Position highest_segment_position;

  // Where the tail goes on.
  Position Cursor() const { return cursor.value() == 0 ? pin : cursor; }
  // Whether the segments cover `range` without a gap.
  bool Covers(const KeyRange& range) const;
};

struct OwnedChunk {
  CollectionId collection;
  uint64_t epoch = 0;
  KeyRange range;
  CopyId copy;
  Token token;  // greatest recorded; never goes back (trap T06)
  ChunkState state = ChunkState::kOwned;
  ChunkDigest digest;  // running
  MoveRef move;        // that pins, fences, imports or released it; id 0: none
  Position fence;      // F, when fenced
  ChunkDigest fence_digest;
  terrane::v1::Route moved_to;  // kReleased
  std::string collection_name;
  std::string shard_key;  // BSON pattern
  std::optional<SideSum> side;
  std::optional<Import> import;
};

struct Pin {
  MoveRef move;
  Position position;
};

// What the gate says about a request.
struct Verdict {
  enum class Kind {
    kServe,
    kServeByProof,  // serve; a write's entry carries the request's token, which is learned when it is applied
    kStaleRoute,    // refresh; `owner` if known
    kFenced,        // hold; `move` is switching the chunk
    kAhead,         // the request knows more than the shard: ask the metadata service
  };
  Kind kind = Kind::kServe;
  std::optional<terrane::v1::Route> owner;  // `shard` is empty if it is this one
  MoveRef move;
  bool serves() const { return kind == Kind::kServe || kind == Kind::kServeByProof; }
};

// What a request says about the chunk.
struct RequestRoute {
  CollectionId collection;
  CopyId copy;
  Token token;
};

enum class Outcome {
  kApplied,
  kAlready,         // had taken effect before
  kStaleAttempt,    // the attempt was given up
  kStaleToken,      // an older token than the recorded one
  kNoSuchChunk,     // no record of this copy and range
  kWrongState,      // the record's state does not allow it
  kConflict,        // another migration or split is at work there
  kNoFence,         // G, but that very F does not stand
  kHole,            // the batch does not begin where the last one ended (trap T27)
  kTooOld,          // a segment that reflects less than the pin or the cursor (traps T57, T58)
  kIncomplete,      // a segment is missing or a range is open (trap T73)
  kDigestMismatch,  // K: source and target differ
};
std::string_view OutcomeName(Outcome outcome);

struct EntryResult {
  Outcome outcome = Outcome::kApplied;
  Position position;   // of the entry that took effect
  ChunkDigest digest;  // F: at the fence; K: the target's
  std::string why;     // refused: for people
  bool ok() const { return outcome == Outcome::kApplied || outcome == Outcome::kAlready; }
};

class Ownership {
 public:
  // ---- gate (ownership_gate.cc) --------------------------------------------------------------------------------

  // Whether a request may read or write all of `range`, or the one `key`.
  Verdict Check(const RequestRoute& route, const KeyRange& range, bool write) const;
  Verdict CheckKey(const RequestRoute& route, std::string_view key, bool write) const;

  // ---- writes (ownership_gate.cc) ------------------------------------------------------------------------------

  // At apply: whether a write entry may take effect for all these keys. What CheckKey says, but asked in the order of
  // the log (trap T01). If it serves by proof, records what was learned.
  Verdict AdmitWrite(const RequestRoute& route, std::span<const std::string_view> keys);
  // The record of a key in a copy; null if there is none. Valid until the next Apply*.
  OwnedChunk* At(CopyId copy, std::string_view key);
  const OwnedChunk* At(CopyId copy, std::string_view key) const;
  // A document or retry record at `key` was replaced: the running digest and a side sum follow.
  void Replace(OwnedChunk* chunk, std::string_view key, const ChunkDigest& removed, const ChunkDigest& added);

  // ---- entries -------------------------------------------------------------------------------------------------

  EntryResult ApplyCreateChunk(const terrane::v1::CreateChunk& entry, Position position);
  EntryResult ApplyDropCopy(const terrane::v1::DropCopy& entry, Position position);
  EntryResult ApplyRecertify(const terrane::v1::Recertify& entry, Position position);
  EntryResult ApplyForgetMoves(const terrane::v1::ForgetMoves& entry, Position position);

  // Source (ownership_fence.cc).
  EntryResult ApplyPin(const terrane::v1::PinEntry& entry, Position position);
  EntryResult ApplyFence(const terrane::v1::FenceEntry& entry, Position position);
  EntryResult ApplyFenceReads(const terrane::v1::FenceReadsEntry& entry, Position position);
  EntryResult ApplyRelease(const terrane::v1::ReleaseCopy& entry, Position position);
  // Source and target.
  EntryResult ApplyEndAttempt(const terrane::v1::EndAttemptEntry& entry, Position position);

  // Target (ownership_import.cc). Check* changes nothing: for what has to be done between check and effect.
  EntryResult ApplyPrepare(const terrane::v1::PrepareCopy& entry, Position position);
  EntryResult CheckIngest(const terrane::v1::IngestSegment& entry) const;
  EntryResult ApplyIngest(const terrane::v1::IngestSegment& entry, Position position);
  EntryResult CheckImportBatch(const terrane::v1::ImportBatch& entry) const;
  // Moves cursor or repair on; the applier has written the changes and told Replace() about each.
  void FinishImportBatch(const terrane::v1::ImportBatch& entry);
  EntryResult ApplyBeginRepair(const terrane::v1::BeginRangeRepair& entry, Position position);
  EntryResult ApplyComplete(const terrane::v1::CompleteEntry& entry, Position position);
  // Before it is proposed: OK unless the entry would meet a copy without the K that the commit names.
  EntryResult CheckOwn(const terrane::v1::OwnCopy& entry) const;
  // At apply: this very move is committed, so K took effect where it was proposed, and here it did not. K depends on
  // the replica's own digest: this state is not that of the others (trap T33).
  bool MissesComplete(const terrane::v1::OwnCopy& entry) const;
  EntryResult ApplyOwn(const terrane::v1::OwnCopy& entry, Position position);

  // Split (ownership_split.cc).
  EntryResult ApplySplitBegin(const terrane::v1::SplitBegin& entry, Position position);
  EntryResult ApplySplit(const terrane::v1::SplitChunkEntry& entry, Position position);
  EntryResult ApplySplitEnd(const terrane::v1::SplitEnd& entry, Position position);

  // ---- looking at it -------------------------------------------------------------------------------------------

  // The record with exactly this copy and range; null if there is none.
  const OwnedChunk* Find(CopyId copy, const KeyRange& range) const;
  // All records of a copy, by key; empty if there are none.
  std::vector<const OwnedChunk*> OfCopy(CopyId copy) const;
  // The owned (or fenced) record of a collection with exactly this range; null if there is none.
  const OwnedChunk* FindOwned(CollectionId collection, const KeyRange& range) const;
  std::vector<const OwnedChunk*> All() const;
  const std::vector<Pin>& pins() const { return pins_; }
  // Position below which the oplog may be cut; nullopt: nothing is pinned.
  std::optional<Position> LeastPin() const;
  bool IsDead(const MoveRef& move) const;
  // Whether ForgetMoves up to here would take effect, and make the state smaller.
  bool MayForgetMoves(MigrationId below) const;
  // Copies, or parts of them, that were dropped and whose data has not been removed yet.
  const std::vector<terrane::v1::DropCopy>& dropping() const { return dropping_; }
  // The data is gone (known locally, not an entry of the log).
  void ForgetDropping(CopyId copy, const KeyRange& range);

  // ---- persistence ---------------------------------------------------------------------------------------------

  // What must be written for the changes since the last call.
  struct ChangedRecords {
    bool structure = false;                                // the OwnershipState as a whole
    std::vector<std::pair<CopyId, std::string>> progress;  // digest, side sum and cursor of (copy, range.min)
    std::vector<std::pair<CopyId, std::string>> gone;      // the same, no longer there
  };
  ChangedRecords TakeChanges();

  terrane::v1::OwnershipState Save() const;
  // kDataLoss: the records contradict each other.
  static absl::StatusOr<Ownership> Load(const terrane::v1::OwnershipState& state);
  // The part of a record that changes with every write; nullopt if there is no such record.
  std::optional<terrane::v1::ChunkProgress> Progress(CopyId copy, const std::string& min) const;
  void SetProgress(CopyId copy, const std::string& min, const terrane::v1::ChunkProgress& progress);

 private:
  using Chunks = std::map<std::string, OwnedChunk, std::less<>>;  // by range.min; disjoint

  OwnedChunk* FindExact(CopyId copy, const KeyRange& range);
  // The records of a copy that together are exactly `range`, made one if they were several (a split that the metadata
  // service never heard of); null if there is no such tiling or they differ in more than digest and token.
  OwnedChunk* Coalesce(CopyId copy, const KeyRange& range);
  // The only record of an import: the one of this copy with an `import`.
  OwnedChunk* FindImport(CopyId copy);
  const OwnedChunk* FindImport(CopyId copy) const;
  std::optional<terrane::v1::Route> KnownOwner(CollectionId collection, std::string_view key) const;
  Verdict CheckChunk(const RequestRoute& route, const OwnedChunk& chunk, bool write) const;
  OwnedChunk* Insert(OwnedChunk chunk);
  void Erase(CopyId copy, const std::string& min);
  void MarkDead(const MoveRef& move);
  // A smaller id than `below` that is at work here still; nullopt if there is none.
  std::optional<MigrationId> OpenMoveBelow(MigrationId below) const;
  void AddPin(const MoveRef& move, Position position);
  void Unpin(MigrationId id);
  void Touch(const OwnedChunk& chunk);  // its progress record is to be written

  std::map<CopyId, Chunks> copies_;
  std::vector<Pin> pins_;
  // Greatest attempt that was given up, or that has reached its end. None of them is below dead_below_.
  std::map<MigrationId, Attempt> dead_;
  MigrationId dead_below_;  // all smaller ones are dead; no chunk and no pin is at work for one of them
  std::vector<terrane::v1::DropCopy> dropping_;
  std::set<CollectionId> created_;  // nothing of them is created here any more

  bool structure_changed_ = false;
  std::map<std::pair<CopyId, std::string>, bool> progress_changed_;  // true: still there
};

// What the proposer of an entry is told: OK, or the status with an ErrorDetail that says why.
absl::Status ToStatus(const EntryResult& result, const MoveRef& move);
absl::Status ToStatus(const Verdict& verdict, const std::string& this_shard);

}  // namespace terrane::shard
