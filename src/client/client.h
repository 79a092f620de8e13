// The C++ client of Terrane: documents as BSON bytes, sessions and retries inside.
//
//   TERRANE_ASSIGN_OR_RETURN(auto client, client::Client::Connect({.proxies = {"127.0.0.1:40117"}}));
//   auto inserted = client->Insert("shop.orders", {order});
//   auto cursor = client->Find("shop.orders", {.filter = filter});
//   while (true) { auto document = cursor->Next(); if (!document.ok() || !*document) break; use(**document); }
//
// Every write bears a RetryId of the client's own session, so each call is sent again as often as its deadline allows
// when a proxy is lost or says UNAVAILABLE: it has at most one effect. If there are several proxies, what is about few
// documents (Insert, FindOne, and Update, Replace and Delete without `multi`) is also sent to the next one when half of
// its deadline is over, so that a proxy that is paused or cut off costs a delay and no error. Other calls leave such a
// proxy for the calls after them: at their deadline, or after 8 s. What a caller still sees as an error:
//   kDeadlineExceeded, kUnavailable  the deadline came first; the effect is unknown for a write
//   kInvalidArgument, kNotFound, kAlreadyExists, kFailedPrecondition  the request or the state must change; never
//   retried
// Statuses carry a terrane.v1.ErrorDetail (rpc/status.h DetailOf).
//
// Thread-safe; calls block until the answer or the deadline. The client must outlive its cursors.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/status.h"
#include "terrane/v1/cluster.pb.h"
#include "terrane/v1/documents.pb.h"

namespace terrane::client {

struct Options {
  std::vector<std::string> proxies;           // host:port; at least one. Another one is tried when one is lost
  std::chrono::milliseconds deadline{2'000};  // of a call, all its attempts together
  std::string tls_ca_file;                    // empty: plain text
};

// For one call; unset fields take the client's defaults.
struct CallOptions {
  std::optional<std::chrono::milliseconds> deadline;
  terrane::v1::Durability durable = terrane::v1::MAJORITY;  // of a write: when it is acknowledged
};

struct InsertResult {
  int64_t inserted = 0;
  std::vector<terrane::v1::WriteError> errors;  // by index of the document
  std::vector<std::string> ids;                 // BSON {_id: ..} of each document without an error, in order
};
struct UpdateResult {
  int64_t matched = 0;
  int64_t modified = 0;
  std::string upserted_id;  // BSON {_id: ..}, empty if nothing was inserted
};

struct FindOptions {
  std::string filter;      // BSON; empty: everything
  std::string projection;  // BSON; empty: whole documents
  int64_t limit = 0;       // 0: no limit
  int64_t skip = 0;
  bool ordered = false;                               // by shard key over all chunks
  terrane::v1::ReadOptions read;                      // default: linearizable
  std::chrono::milliseconds idle_deadline{60'000};    // of each message; of a long search there is one a second
  std::optional<std::chrono::milliseconds> deadline;  // of the whole find; unset: it may take as long as it likes
};

// Documents of a find, one after the other. Not thread-safe. A broken stream is resumed behind the last document.
class Cursor {
 public:
  virtual ~Cursor() = default;  // cancels what is left
  // nullopt at the end. An error ends the cursor.
  virtual absl::StatusOr<std::optional<std::string>> Next() = 0;
};

class Client {
 public:
  // Does not wait for a proxy to be there. kInvalidArgument: no proxy, or an address that is none.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(Options options);
  virtual ~Client() = default;

  // Errors of single documents are in the result; the status tells of the call.
  virtual absl::StatusOr<InsertResult> Insert(std::string_view collection, const std::vector<std::string>& documents,
                                              CallOptions options = {}) = 0;
  virtual std::unique_ptr<Cursor> Find(std::string_view collection, FindOptions options) = 0;
  // The first document that matches, or nullopt.
  virtual absl::StatusOr<std::optional<std::string>> FindOne(std::string_view collection, std::string_view filter,
                                                             CallOptions options = {}) = 0;
  struct UpdateOptions {
    bool multi = false;
    bool upsert = false;
    CallOptions call;
  };
  virtual absl::StatusOr<UpdateResult> Update(std::string_view collection, std::string_view filter,
                                              std::string_view update, UpdateOptions options) = 0;
  absl::StatusOr<UpdateResult> Update(std::string_view collection, std::string_view filter, std::string_view update) {
    return Update(collection, filter, update, UpdateOptions());
  }
  virtual absl::StatusOr<UpdateResult> Replace(std::string_view collection, std::string_view filter,
                                               std::string_view replacement, bool upsert = false,
                                               CallOptions options = {}) = 0;
  // How many were deleted.
  virtual absl::StatusOr<int64_t> Delete(std::string_view collection, std::string_view filter, bool multi = false,
                                         CallOptions options = {}) = 0;
  virtual absl::StatusOr<int64_t> Count(std::string_view collection, std::string_view filter = "",
                                        CallOptions options = {}) = 0;

  // Administration; messages as in proto/terrane/v1/cluster.proto. A request_id is added where the message has one and
  // it is empty.
  virtual absl::StatusOr<terrane::v1::CreateCollectionResponse> CreateCollection(
      terrane::v1::CreateCollectionRequest request, CallOptions options = {}) = 0;
  virtual absl::Status DropCollection(std::string_view name, CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::ListCollectionsResponse> ListCollections(CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::StatusResponse> Status(CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::ListChunksResponse> ListChunks(std::string_view collection,
                                                                     CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::SplitChunkResponse> SplitChunk(terrane::v1::SplitChunkRequest request,
                                                                     CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::MoveChunkResponse> MoveChunk(terrane::v1::MoveChunkRequest request,
                                                                   CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::ListMigrationsResponse> ListMigrations(bool active_only,
                                                                             CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::ShowMigrationResponse> ShowMigration(uint64_t id, CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::AbortMigrationResponse> AbortMigration(uint64_t id, CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::ListShardsResponse> ListShards(CallOptions options = {}) = 0;
  // Idempotent; a call that ended with kUnavailable or kDeadlineExceeded may be made again.
  virtual absl::StatusOr<terrane::v1::ChangeReplicaResponse> ChangeReplica(
      const terrane::v1::ChangeReplicaRequest& request, CallOptions options = {}) = 0;
  virtual absl::StatusOr<terrane::v1::StepDownResponse> StepDown(const terrane::v1::StepDownRequest& request,
                                                                 CallOptions options = {}) = 0;

  // How often something was sent again for calls of this client so far: by the client itself, and inside by the proxy,
  // also because it was held during a switch.
  virtual int64_t Retries() const = 0;

  // Runs the audit; `event` sees each message of the stream. Returns the number of findings. The deadline defaults to
  // one hour.
  virtual absl::StatusOr<int64_t> Check(terrane::v1::CheckRequest request,
                                        const std::function<void(const terrane::v1::CheckEvent&)>& event,
                                        CallOptions options = {}) = 0;
};

}  // namespace terrane::client
