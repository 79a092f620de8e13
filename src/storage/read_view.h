// A consistent picture of a store at one applied position: what every read, scan, export and verification works on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/key_range.h"

namespace terrane::storage {

class CopyReferenceTable;

// Holds copies against being dropped while it lives (trap T34). A read takes it *before* it checks ownership: a read
// that was paused in between could otherwise wake up to a dropped copy. Movable; thread-compatible.
class CopyReferences {
 public:
  CopyReferences() = default;
  CopyReferences(CopyReferences&& other) noexcept;
  CopyReferences& operator=(CopyReferences&& other) noexcept;
  ~CopyReferences();

  bool Holds(CopyId copy) const;

 private:
  friend class CopyReferenceTable;
  CopyReferences(std::shared_ptr<CopyReferenceTable> table, std::span<const CopyId> copies);
  void Release();

  std::shared_ptr<CopyReferenceTable> table_;
  std::vector<CopyId> copies_;
};

// Each cursor belongs to one ReadView, which it keeps alive, and to one thread at a time. Views that it gives out are
// valid until its next move. After Valid() turned false look at status(): kDataLoss names a damaged file.

// Documents in the order of (shard key, id).
class DocumentCursor {
 public:
  virtual ~DocumentCursor() = default;
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  virtual absl::Status status() const = 0;
  virtual std::string_view shard_key() const = 0;
  virtual std::string_view id() const = 0;
  virtual std::string_view document() const = 0;
  // To the first document at or after (shard_key, id), or after it, within the cursor's range.
  virtual void Seek(std::string_view shard_key, std::string_view id) = 0;
  virtual void SeekAfter(std::string_view shard_key, std::string_view id) = 0;
};

// Retry records in the order of (shard key, id, session, statement).
class RetryCursor {
 public:
  virtual ~RetryCursor() = default;
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  virtual absl::Status status() const = 0;
  virtual std::string_view shard_key() const = 0;
  virtual std::string_view id() const = 0;
  virtual std::string_view session() const = 0;
  virtual int64_t statement() const = 0;
  virtual std::string_view record() const = 0;  // serialized RetryRecord
};

// Oplog entries in the order of their positions. A position without an entry changed no document.
class OplogCursor {
 public:
  virtual ~OplogCursor() = default;
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  virtual absl::Status status() const = 0;
  virtual Position position() const = 0;
  virtual std::string_view entry() const = 0;  // serialized OplogEntry
};

// A retry record and the document that it belongs to.
struct FoundRetry {
  CopyId copy;
  std::string shard_key;
  std::string id;
  std::string record;
};

// Thread-safe; a cursor of it is not. Cheap to make; holding it holds the space of what is overwritten, so let long
// work take a new one now and then. Reading a copy that it was not made for is a broken promise (CHECK).
class ReadView {
 public:
  virtual ~ReadView() = default;

  // Everything up to here is in the picture, nothing behind it.
  virtual Position AppliedPosition() const = 0;

  virtual absl::StatusOr<std::optional<std::string>> GetDocument(CopyId copy, std::string_view shard_key,
                                                                 std::string_view id) const = 0;
  // The record's bytes (serialized RetryRecord).
  virtual absl::StatusOr<std::optional<std::string>> GetRetry(CopyId copy, std::string_view shard_key,
                                                              std::string_view id, std::string_view session,
                                                              int64_t statement) const = 0;
  // All records of the statement in the given copies, wherever their documents lie.
  virtual absl::StatusOr<std::vector<FoundRetry>> FindRetry(std::span<const CopyId> copies, std::string_view session,
                                                            int64_t statement) const = 0;
  virtual absl::StatusOr<std::optional<std::string>> GetState(std::string_view name) const = 0;

  // Stand on the first record of the range; never null. `for_scan`: read ahead and leave the cache alone.
  virtual std::unique_ptr<DocumentCursor> Documents(CopyId copy, const KeyRange& range,
                                                    bool for_scan = false) const = 0;
  virtual std::unique_ptr<RetryCursor> Retries(CopyId copy, const KeyRange& range) const = 0;

  // First position that this replica still keeps: kOutOfRange names it when an older one is asked for.
  virtual Position FirstOplogPosition() const = 0;
  virtual absl::StatusOr<std::optional<std::string>> GetOplog(Position position) const = 0;
  virtual absl::StatusOr<std::unique_ptr<OplogCursor>> Oplog(Position from) const = 0;
};

}  // namespace terrane::storage
