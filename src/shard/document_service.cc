#include "shard/document_service.h"

#include "rpc/unary.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

class DocumentService final : public v1::ShardDocuments::CallbackService {
 public:
  DocumentService(const Core* core, ReadPath* reads, WritePath* writes)
      : core_(*core), reads_(*reads), writes_(*writes) {}

  ServerUnaryReactor* Insert(CallbackServerContext* context, const v1::ShardInsertRequest* request,
                             v1::ShardInsertResponse* response) override {
    return Run(context, request, response, writes_, &WritePath::Insert);
  }
  ServerUnaryReactor* Modify(CallbackServerContext* context, const v1::ShardModifyRequest* request,
                             v1::ShardModifyResponse* response) override {
    return Run(context, request, response, writes_, &WritePath::Modify);
  }
  ServerUnaryReactor* ModifyMany(CallbackServerContext* context, const v1::ShardModifyManyRequest* request,
                                 v1::ShardModifyManyResponse* response) override {
    return Run(context, request, response, writes_, &WritePath::ModifyMany);
  }
  ServerUnaryReactor* Get(CallbackServerContext* context, const v1::ShardGetRequest* request,
                          v1::ShardGetResponse* response) override {
    return Run(context, request, response, reads_, &ReadPath::Get);
  }
  ServerUnaryReactor* Scan(CallbackServerContext* context, const v1::ShardScanRequest* request,
                           v1::ShardScanResponse* response) override {
    return Run(context, request, response, reads_, &ReadPath::Scan);
  }
  ServerUnaryReactor* Count(CallbackServerContext* context, const v1::ShardCountRequest* request,
                            v1::ShardCountResponse* response) override {
    return Run(context, request, response, reads_, &ReadPath::Count);
  }

 private:
  template <typename Path, typename Method, typename Request, typename Response>
  ServerUnaryReactor* Run(CallbackServerContext* context, const Request* request, Response* response, Path& path,
                          Method method) {
    const MonotonicTime begin = core_.clock->Now();
    return rpc::RunUnary(context, core_.executor,
                         [this, request, response, &path, method, begin](const rpc::Call& call, rpc::Done done) {
                           CallState state{call.deadline(), [&call] { return call.cancelled(); }};
                           (path.*method)(std::move(state), request, response,
                                          [this, begin, done = std::move(done)](absl::Status status) {
                                            const auto lasted = core_.clock->Now() - begin;
                                            core_.counts->foreground_us.Record(static_cast<uint64_t>(
                                                std::chrono::duration_cast<std::chrono::microseconds>(lasted).count()));
                                            done(std::move(status));
                                          });
                         });
  }

  const Core& core_;
  ReadPath& reads_;
  WritePath& writes_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDocumentService(const Core* core, ReadPath* reads, WritePath* writes) {
  return std::make_unique<DocumentService>(core, reads, writes);
}

}  // namespace terrane::shard
