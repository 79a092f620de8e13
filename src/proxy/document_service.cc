#include "proxy/document_service.h"

#include <memory>
#include <utility>

#include "common/status.h"
#include "document/extended_json.h"
#include "proxy/insert_statement.h"
#include "proxy/modify_statement.h"
#include "proxy/read_statements.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::proxy {
namespace {

using rpc::Call;
using rpc::Done;

class DocumentService final : public v1::Documents::CallbackService {
 public:
  explicit DocumentService(const StatementEnvironment* environment) : environment_(environment) {}

  grpc::ServerUnaryReactor* Insert(grpc::CallbackServerContext* context, const v1::InsertRequest* request,
                                   v1::InsertResponse* response) override {
    return Run(context, request->collection(), [=](StatementContext statement, Done done) {
      RunInsert(std::move(statement), *request, response, std::move(done));
    });
  }

  grpc::ServerWriteReactor<v1::FindResponse>* Find(grpc::CallbackServerContext* context,
                                                   const v1::FindRequest* request) override {
    return rpc::RunStream<v1::FindResponse>(context, nullptr, [this, request](std::shared_ptr<FindStream> stream) {
      StatementContext statement{environment_, nullptr, stream->call().DeadlineOr(environment_->default_deadline),
                                 &stream->call()};
      const MonotonicTime deadline = statement.deadline;
      auto opened = [request, stream, statement = std::move(statement)](auto collection) mutable {
        if (!collection.ok()) return stream->Finish(collection.status());
        statement.collection = *std::move(collection);
        // The statement holds the stream for as long as it asks the call anything.
        RunFind(std::move(statement), *request, std::move(stream));
      };
      environment_->catalog->Open(request->collection(), deadline, std::move(opened));
    });
  }

  grpc::ServerUnaryReactor* FindOne(grpc::CallbackServerContext* context, const v1::FindOneRequest* request,
                                    v1::FindOneResponse* response) override {
    return Run(context, request->collection(), [=](StatementContext statement, Done done) {
      RunFindOne(std::move(statement), *request, response, std::move(done));
    });
  }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const v1::UpdateRequest* request,
                                   v1::UpdateResponse* response) override {
    return Run(context, request->collection(), [=, this](StatementContext statement, Done done) {
      auto plan = PlanModification(statement.collection->pattern, v1::ShardModifyRequest::UPDATE, request->format(),
                                   request->filter(), request->update(), request->multi(), request->upsert());
      Modify(std::move(statement), std::move(plan), *request, response, std::move(done));
    });
  }

  grpc::ServerUnaryReactor* Replace(grpc::CallbackServerContext* context, const v1::ReplaceRequest* request,
                                    v1::UpdateResponse* response) override {
    return Run(context, request->collection(), [=, this](StatementContext statement, Done done) {
      auto plan = PlanModification(statement.collection->pattern, v1::ShardModifyRequest::REPLACE, request->format(),
                                   request->filter(), request->replacement(), false, request->upsert());
      Modify(std::move(statement), std::move(plan), *request, response, std::move(done));
    });
  }

  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context, const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) override {
    return Run(context, request->collection(), [=, this](StatementContext statement, Done done) {
      auto plan = PlanModification(statement.collection->pattern, v1::ShardModifyRequest::DELETE, request->format(),
                                   request->filter(), "", request->multi(), false);
      if (absl::Status bad = AddOptions(*request, &plan); !bad.ok()) return done(bad);
      RunModification(std::move(statement), *std::move(plan),
                      [response, done = std::move(done)](absl::Status status, const ModifyResult& result) {
                        response->set_deleted(result.deleted);
                        done(std::move(status));
                      });
    });
  }

  grpc::ServerUnaryReactor* Count(grpc::CallbackServerContext* context, const v1::CountRequest* request,
                                  v1::CountResponse* response) override {
    return Run(context, request->collection(), [=](StatementContext statement, Done done) {
      RunCount(std::move(statement), *request, response, std::move(done));
    });
  }

 private:
  // Opens the collection, then fn(StatementContext, Done).
  template <typename Fn>
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context, std::string_view collection, Fn fn) {
    return rpc::RunUnary(context, nullptr, [this, collection, fn](const Call& call, Done done) {
      StatementContext statement{environment_, nullptr, call.DeadlineOr(environment_->default_deadline), &call};
      environment_->catalog->Open(collection, statement.deadline, [fn, statement, done](auto opened) mutable {
        if (!opened.ok()) return done(opened.status());
        statement.collection = *std::move(opened);
        fn(std::move(statement), std::move(done));
      });
    });
  }

  template <typename Request>
  absl::Status AddOptions(const Request& request, absl::StatusOr<Modification>* plan) const {
    TERRANE_RETURN_IF_ERROR(plan->status());
    TERRANE_RETURN_IF_ERROR(CheckDurable(request.durable()));
    (*plan)->durable = request.durable();
    if (request.has_retry()) {
      TERRANE_RETURN_IF_ERROR(CheckRetryId(request.retry()));
      (*plan)->retry = request.retry();
    } else {
      (*plan)->retry = environment_->session->Take(1);
    }
    return absl::OkStatus();
  }

  template <typename Request>
  void Modify(StatementContext statement, absl::StatusOr<Modification> plan, const Request& request,
              v1::UpdateResponse* response, Done done) const {
    if (absl::Status bad = AddOptions(request, &plan); !bad.ok()) return done(bad);
    const bool json = request.format() == v1::EXTENDED_JSON;
    RunModification(std::move(statement), *std::move(plan),
                    [response, json, done = std::move(done)](absl::Status status, ModifyResult result) {
                      response->set_matched(result.matched);
                      response->set_modified(result.modified);
                      if (!result.upserted_id.empty()) {
                        response->set_upserted_id(json ? document::ToRelaxedJson(result.upserted_id)
                                                       : std::move(result.upserted_id));
                      }
                      done(std::move(status));
                    });
  }

  const StatementEnvironment* const environment_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDocumentService(const StatementEnvironment* environment) {
  return std::make_unique<DocumentService>(environment);
}

}  // namespace terrane::proxy
