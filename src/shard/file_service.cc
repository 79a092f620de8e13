#include "shard/file_service.h"

#include "common/executor.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "shard/background.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;
namespace {

// Holding waits for the reading of another replica, so neither may wait behind the other.
constexpr int kHoldThreads = 2;
constexpr int kReadThreads = 4;

class FileService final : public v1::ShardFiles::CallbackService {
 public:
  explicit FileService(SegmentFiles* files)
      : files_(*files), hold_("files-hold", kHoldThreads), read_("files-read", kReadThreads) {}

  grpc::ServerUnaryReactor* HoldSegment(grpc::CallbackServerContext* context, const v1::HoldSegmentRequest* request,
                                        v1::HoldSegmentResponse* response) override {
    return rpc::RunBlocking(context, &hold_, [this, request, response](const rpc::Call&) -> absl::Status {
      YieldToRequests();
      TERRANE_ASSIGN_OR_RETURN(*response, files_.Hold(*request));
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<v1::FileChunk>* FetchFile(grpc::CallbackServerContext* context,
                                                     const v1::FetchFileRequest* request) override {
    return rpc::RunStream<v1::FileChunk>(
        context, &read_, [this, request = *request](std::shared_ptr<rpc::ServerStream<v1::FileChunk>> stream) {
          stream->Finish(
              files_.Read(CopyId(request.copy_id()), request.name(), request.offset(), [&](std::string data) {
                v1::FileChunk chunk;
                chunk.set_data(std::move(data));
                return stream->Write(std::move(chunk));
              }));
        });
  }

 private:
  SegmentFiles& files_;
  Executor hold_;
  Executor read_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFileService(SegmentFiles* files) {
  return std::make_unique<FileService>(files);
}

}  // namespace terrane::shard
