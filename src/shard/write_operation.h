// What Insert, Modify and ModifyMany have in common. Private to the write path.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "document/filter.h"
#include "document/shard_key.h"
#include "document/update.h"
#include "shard/core.h"
#include "shard/request_gate.h"
#include "storage/read_view.h"
#include "terrane/v1/shard.pb.h"

namespace terrane::shard {

// One entry carries up to so much; a larger write becomes several.
inline constexpr size_t kMaxEntryBytes = 8 << 20;

// Runs its steps one after the other, on whatever thread the next one comes from; kept alive by its callbacks.
class WriteOperation : public std::enable_shared_from_this<WriteOperation> {
 public:
  virtual ~WriteOperation() = default;

 protected:
  WriteOperation(const Core* core, CallState call, const terrane::v1::Route* route, DoneCallback done)
      : core_(*core), call_(std::move(call)), route_(*route), done_(std::move(done)) {}

  CopyId copy() const { return CopyId(route_.copy_id()); }

  // What the request is about is still owned, and not fenced: CheckKeys or CheckRange. Views that it rests on live as
  // long as the operation.
  virtual absl::Status CheckOwned() const = 0;
  // Leader, ownership, space for `bytes` (0: deletes go on below the reserve).
  absl::Status Admit(size_t bytes);
  absl::Status CheckSpace(size_t bytes) const;

  // With the latches held: the term for the proposals, and what the applied entries have left. Everything that was
  // computed under these latches before is in it. Ownership is asked for behind the view: half of a copy may have moved
  // away and been removed while the latches were waited for, and what is not there must not be taken for "no match".
  struct Ground {
    Term term;
    std::shared_ptr<const storage::ReadView> view;
  };
  absl::StatusOr<Ground> Stand();

  terrane::v1::ShardEntry NewEntry() const;
  // Proposes in order; `then` gets the results in order, on the apply thread. With LEADER the answer goes out with OK,
  // the response as it is now, as soon as all entries are on this leader's disk; `then` is not called after that, for
  // request and response may be gone, and the latches are released when all are applied.
  void Propose(Term term, std::vector<terrane::v1::ShardEntry> entries,
               std::function<void(std::vector<replication::ProposeResult>)> then,
               terrane::v1::Durability durable = terrane::v1::MAJORITY);

  // Goes on with `then` once what was answered early is applied, so that what is looked for can be found: before a view
  // in which documents are chosen that nobody has latched.
  void AfterEarlyWrites(std::function<void()> then);

  // Releases the latches, then answers. An answer that rests on a Stand alone ("nothing matches", "it is there
  // already") is a read: it goes out only if this replica led at that time, by its lease or by asking the others (trap
  // T03).
  void Finish(absl::Status status);

  // Serialized record of one statement on one document, with its expiry.
  std::string NewRetry(const terrane::v1::RetryId& id, terrane::v1::RetryRecord counts) const;
  // The record of the statement on this document; nullopt if there is none.
  static absl::StatusOr<std::optional<terrane::v1::RetryRecord>> FindRecord(const storage::ReadView& view, CopyId copy,
                                                                            std::string_view shard_key,
                                                                            std::string_view id,
                                                                            const terrane::v1::RetryId& retry);

  const Core& core_;
  const CallState call_;
  const terrane::v1::Route& route_;
  Latches::Hold hold_;

 private:
  void Answer(absl::Status status) { std::exchange(done_, nullptr)(std::move(status)); }
  // OK: still the leader in the term.
  absl::Status StillLeads(Term term) const;

  DoneCallback done_;
  // Of the last Stand, until an entry of that term was applied, which proves that it was the leader's.
  std::optional<Term> unconfirmed_;
};

// What is to be done to each document that matches: the parsed part of Modify and ModifyMany.
class Modification {
 public:
  // kInvalidArgument with BAD_FILTER or BAD_UPDATE; the collection's pattern comes from the ownership (any chunk of the
  // copy).
  static absl::StatusOr<Modification> Parse(const Core& core, CopyId copy, terrane::v1::ShardModifyRequest::Kind kind,
                                            std::string_view filter, std::string_view update);

  const document::Filter& filter() const { return filter_; }
  bool deletes() const { return kind_ == terrane::v1::ShardModifyRequest::DELETE; }
  bool Matches(std::string_view document) const { return matches_everything_ || filter_.Matches(document); }

  // The new document; kInvalidArgument with BAD_UPDATE or SHARD_KEY_CHANGED.
  absl::StatusOr<std::string> Apply(std::string_view document, std::string_view shard_key, int64_t wall_ms) const;
  // The document that an upsert inserts, with its `_id`, generated if nobody names one. Errors as above.
  absl::StatusOr<std::string> Upsert(std::string_view shard_key, int64_t wall_ms) const;

 private:
  absl::Status CheckShardKey(std::string_view document, std::string_view shard_key) const;

  terrane::v1::ShardModifyRequest::Kind kind_ = terrane::v1::ShardModifyRequest::UPDATE;
  document::Filter filter_;
  bool matches_everything_ = true;
  document::Update update_;
  document::ShardKeyPattern pattern_;
  bool may_change_shard_key_ = true;
};

}  // namespace terrane::shard
