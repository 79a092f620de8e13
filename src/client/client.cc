#include "client/client.h"

#include "client/caller.h"
#include "client/cursor.h"
#include "client/session.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::client {
namespace {

namespace v1 = terrane::v1;
using ClusterStub = v1::Cluster;
using CollectionsStub = v1::Collections;
using DocumentsStub = v1::Documents;

constexpr std::chrono::hours kCheckDeadline{1};

class GrpcClient : public Client {
 public:
  explicit GrpcClient(const Options& options) : caller_(options) {}

  absl::StatusOr<InsertResult> Insert(std::string_view collection, const std::vector<std::string>& documents,
                                      CallOptions options) override {
    v1::InsertRequest request;
    request.set_collection(std::string(collection));
    for (const std::string& document : documents) request.add_documents(document);
    *request.mutable_retry() = session_.Take(std::max<int64_t>(1, request.documents_size()));
    request.set_durable(options.durable);
    TERRANE_ASSIGN_OR_RETURN(
        v1::InsertResponse response,
        (caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::Insert, request, options, Repeat::kWhenSilent)));
    InsertResult result;
    result.inserted = response.inserted();
    result.errors.assign(response.errors().begin(), response.errors().end());
    result.ids.assign(response.ids().begin(), response.ids().end());
    return result;
  }

  std::unique_ptr<Cursor> Find(std::string_view collection, FindOptions options) override {
    return OpenCursor(&caller_, collection, std::move(options));
  }

  absl::StatusOr<std::optional<std::string>> FindOne(std::string_view collection, std::string_view filter,
                                                     CallOptions options) override {
    const MonotonicTime deadline = Clock::System()->Now() + caller_.DeadlineOf(options);
    v1::FindOneRequest request;
    request.set_collection(std::string(collection));
    request.set_filter(std::string(filter));
    request.set_in_steps(true);
    while (true) {
      TERRANE_ASSIGN_OR_RETURN(
          v1::FindOneResponse response,
          (caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::FindOne, request, options, Repeat::kWhenSilent)));
      if (response.found()) return std::move(*response.mutable_document());
      if (response.resume_token().empty()) return std::nullopt;
      // It is being searched for: what is left of the time is for the rest.
      request.set_resume_token(std::move(*response.mutable_resume_token()));
      options.deadline = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::System()->Now());
    }
  }

  absl::StatusOr<UpdateResult> Update(std::string_view collection, std::string_view filter, std::string_view update,
                                      UpdateOptions options) override {
    v1::UpdateRequest request;
    request.set_collection(std::string(collection));
    request.set_filter(std::string(filter));
    request.set_update(std::string(update));
    request.set_multi(options.multi);
    request.set_upsert(options.upsert);
    *request.mutable_retry() = session_.Take();
    request.set_durable(options.call.durable);
    return ToResult(caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::Update, request, options.call,
                                                RepeatOf(options.multi)));
  }

  absl::StatusOr<UpdateResult> Replace(std::string_view collection, std::string_view filter,
                                       std::string_view replacement, bool upsert, CallOptions options) override {
    v1::ReplaceRequest request;
    request.set_collection(std::string(collection));
    request.set_filter(std::string(filter));
    request.set_replacement(std::string(replacement));
    request.set_upsert(upsert);
    *request.mutable_retry() = session_.Take();
    request.set_durable(options.durable);
    return ToResult(
        caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::Replace, request, options, Repeat::kWhenSilent));
  }

  absl::StatusOr<int64_t> Delete(std::string_view collection, std::string_view filter, bool multi,
                                 CallOptions options) override {
    v1::DeleteRequest request;
    request.set_collection(std::string(collection));
    request.set_filter(std::string(filter));
    request.set_multi(multi);
    *request.mutable_retry() = session_.Take();
    request.set_durable(options.durable);
    TERRANE_ASSIGN_OR_RETURN(
        v1::DeleteResponse response,
        (caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::Delete, request, options, RepeatOf(multi))));
    return response.deleted();
  }

  absl::StatusOr<int64_t> Count(std::string_view collection, std::string_view filter, CallOptions options) override {
    v1::CountRequest request;
    request.set_collection(std::string(collection));
    request.set_filter(std::string(filter));
    TERRANE_ASSIGN_OR_RETURN(v1::CountResponse response,
                             (caller_.Call<DocumentsStub>(&DocumentsStub::StubInterface::Count, request, options)));
    return response.count();
  }

  absl::StatusOr<v1::CreateCollectionResponse> CreateCollection(v1::CreateCollectionRequest request,
                                                                CallOptions options) override {
    if (request.request_id().empty()) request.set_request_id(RandomId());
    return caller_.Call<CollectionsStub>(&CollectionsStub::StubInterface::Create, request, options);
  }
  absl::Status DropCollection(std::string_view name, CallOptions options) override {
    v1::DropCollectionRequest request;
    request.set_name(std::string(name));
    request.set_request_id(RandomId());
    return caller_.Call<CollectionsStub>(&CollectionsStub::StubInterface::Drop, request, options).status();
  }
  absl::StatusOr<v1::ListCollectionsResponse> ListCollections(CallOptions options) override {
    return caller_.Call<CollectionsStub>(&CollectionsStub::StubInterface::List, v1::ListCollectionsRequest(), options);
  }
  int64_t Retries() const override { return caller_.retries(); }
  absl::StatusOr<v1::StatusResponse> Status(CallOptions options) override {
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::Status, v1::StatusRequest(), options);
  }
  absl::StatusOr<v1::ListChunksResponse> ListChunks(std::string_view collection, CallOptions options) override {
    v1::ListChunksRequest request;
    request.set_collection(std::string(collection));
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::ListChunks, request, options);
  }
  absl::StatusOr<v1::SplitChunkResponse> SplitChunk(v1::SplitChunkRequest request, CallOptions options) override {
    // Without an idempotency id: a second split at the same key joins the first, or is refused by name once that is
    // done, which tells the caller enough.
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::SplitChunk, request, options, Repeat::kNever);
  }
  absl::StatusOr<v1::MoveChunkResponse> MoveChunk(v1::MoveChunkRequest request, CallOptions options) override {
    if (request.request_id().empty()) request.set_request_id(RandomId());
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::MoveChunk, request, options);
  }
  absl::StatusOr<v1::ListMigrationsResponse> ListMigrations(bool active_only, CallOptions options) override {
    v1::ListMigrationsRequest request;
    request.set_active_only(active_only);
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::ListMigrations, request, options);
  }
  absl::StatusOr<v1::ShowMigrationResponse> ShowMigration(uint64_t id, CallOptions options) override {
    v1::ShowMigrationRequest request;
    request.set_id(id);
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::ShowMigration, request, options);
  }
  absl::StatusOr<v1::AbortMigrationResponse> AbortMigration(uint64_t id, CallOptions options) override {
    v1::AbortMigrationRequest request;
    request.set_id(id);
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::AbortMigration, request, options);
  }
  absl::StatusOr<v1::ListShardsResponse> ListShards(CallOptions options) override {
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::ListShards, v1::ListShardsRequest(), options);
  }
  absl::StatusOr<v1::ChangeReplicaResponse> ChangeReplica(const v1::ChangeReplicaRequest& request,
                                                          CallOptions options) override {
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::ChangeReplica, request, options);
  }
  absl::StatusOr<v1::StepDownResponse> StepDown(const v1::StepDownRequest& request, CallOptions options) override {
    // A second one would take the lead from whoever just got it.
    return caller_.Call<ClusterStub>(&ClusterStub::StubInterface::StepDown, request, options, Repeat::kNever);
  }

  absl::StatusOr<int64_t> Check(v1::CheckRequest request, const std::function<void(const v1::CheckEvent&)>& event,
                                CallOptions options) override {
    const size_t proxy = caller_.CurrentProxy();
    const auto stub = ClusterStub::NewStub(caller_.Channel(proxy));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         rpc::BoundedWait(options.deadline.value_or(kCheckDeadline)));
    const auto reader = stub->Check(&context, request);
    v1::CheckEvent message;
    int64_t findings = 0;
    while (reader->Read(&message)) {
      findings = std::max<int64_t>(findings, message.findings());
      event(message);
    }
    TERRANE_RETURN_IF_ERROR(caller_.NoteStatus(rpc::FromGrpc(reader->Finish()), proxy));
    return findings;
  }

 private:
  // What changes many documents may need its whole time for them.
  static Repeat RepeatOf(bool multi) { return multi ? Repeat::kWhenUnavailable : Repeat::kWhenSilent; }
  static absl::StatusOr<UpdateResult> ToResult(absl::StatusOr<v1::UpdateResponse> response) {
    TERRANE_RETURN_IF_ERROR(response.status());
    return UpdateResult{response->matched(), response->modified(), std::move(*response->mutable_upserted_id())};
  }

  Caller caller_;
  Session session_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(Options options) {
  if (options.proxies.empty()) return InvalidArgument("no proxy is named: expected host:port");
  for (const std::string& proxy : options.proxies) {
    const size_t colon = proxy.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == proxy.size()) {
      return InvalidArgument("\"", proxy, "\" is no address of a proxy: expected host:port");
    }
  }
  if (options.deadline <= std::chrono::milliseconds(0)) return InvalidArgument("the deadline must be positive");
  return std::make_unique<GrpcClient>(options);
}

}  // namespace terrane::client
