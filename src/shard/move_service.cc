#include "shard/move_service.h"

#include <utility>

#include "common/logging.h"
#include "rpc/unary.h"
#include "shard/convert.h"
#include "terrane/v1/shard.grpc.pb.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

class MoveService final : public v1::ShardMove::CallbackService {
 public:
  MoveService(const Core* core, Splitter* splitter, ImportController* imports, Executor* steps, Executor* slow)
      : core_(*core), splitter_(*splitter), imports_(*imports), steps_(steps), slow_(slow) {}

  ServerUnaryReactor* CreateChunk(CallbackServerContext* context, const v1::CreateChunkStep* request,
                                  v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_create_chunk() = request->entry();
    return Step(context, std::move(entry), {}, response);
  }
  ServerUnaryReactor* Pin(CallbackServerContext* context, const v1::PinStep* request,
                          v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_pin() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* Fence(CallbackServerContext* context, const v1::FenceStep* request,
                            v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_fence() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* FenceReads(CallbackServerContext* context, const v1::FenceReadsStep* request,
                                 v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_fence_reads() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* Release(CallbackServerContext* context, const v1::ReleaseStep* request,
                              v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_release_copy() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* EndAttempt(CallbackServerContext* context, const v1::EndAttemptStep* request,
                                 v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_end_attempt() = request->entry();
    imports_.AttemptEnded(FromProto(request->entry().move()), CopyId(request->entry().copy_id()));
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* DropCopy(CallbackServerContext* context, const v1::DropCopyStep* request,
                               v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_drop_copy() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* Prepare(CallbackServerContext* context, const v1::PrepareStep* request,
                              v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_prepare_copy() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }
  ServerUnaryReactor* Own(CallbackServerContext* context, const v1::OwnStep* request,
                          v1::StepResponse* response) override {
    v1::ShardEntry entry;
    *entry.mutable_own_copy() = request->entry();
    return Step(context, std::move(entry), request->entry().move(), response);
  }

  ServerUnaryReactor* SplitChunk(CallbackServerContext* context, const v1::SplitChunkStep* request,
                                 v1::StepResponse* response) override {
    return rpc::RunBlocking(context, slow_, [this, request, response](const rpc::Call& call) -> absl::Status {
      auto result = splitter_.Split({call.deadline(), [&call] { return call.cancelled(); }}, *request);
      if (!result.ok()) return result.status();
      response->set_at(result->at);
      return Fill(result->entry, {}, response);
    });
  }
  ServerUnaryReactor* Import(CallbackServerContext* context, const v1::ImportStep* request,
                             v1::ImportStatus* response) override {
    return rpc::RunBlocking(context, steps_, [this, request, response](const rpc::Call&) {
      return Look([&] { return imports_.Import(*request); }, response);
    });
  }
  ServerUnaryReactor* Verify(CallbackServerContext* context, const v1::VerifyStep* request,
                             v1::VerifyStatus* response) override {
    return rpc::RunBlocking(context, steps_, [this, request, response](const rpc::Call&) {
      return Look([&] { return imports_.Verify(*request); }, response);
    });
  }
  ServerUnaryReactor* Complete(CallbackServerContext* context, const v1::CompleteStep* request,
                               v1::StepResponse* response) override {
    return rpc::RunBlocking(context, steps_, [this, request, response](const rpc::Call& call) -> absl::Status {
      if (const auto term = core_.proposer->ServingTerm(); !term.ok()) return term.status();
      auto result = imports_.Complete(*request, call.DeadlineOr(std::chrono::seconds(2)));
      return result.ok() ? Fill(*result, FromProto(request->move()), response) : result.status();
    });
  }

 private:
  ServerUnaryReactor* Step(CallbackServerContext* context, v1::ShardEntry entry, const v1::MoveRef& move,
                           v1::StepResponse* response) {
    return rpc::RunUnary(context, nullptr, [&](const rpc::Call&, rpc::Done done) {
      const auto term = core_.proposer->ServingTerm();
      if (!term.ok()) return done(term.status());
      if (entry.has_own_copy()) {
        const EntryResult may = core_.applier->View()->CheckOwn(entry.own_copy());
        if (!may.ok()) {
          // In the log it would send a replica without K for a checkpoint. If the move is committed all the same, this
          // is such a replica, and one that has K should lead.
          core_.proposer->log()->TransferLeadership().IgnoreError();
          return done(Fill(may, FromProto(move), response));
        }
      }
      core_.proposer->Propose(
          *term, std::move(entry),
          [this, move = FromProto(move), response, done = std::move(done)](replication::ProposeResult result) {
            const auto* outcome = std::any_cast<EntryResult>(&result.value);
            if (outcome == nullptr) return done(core_.proposer->StatusOf(result));
            done(Fill(*outcome, move, response));
          });
    });
  }

  // The answer; a refusal fills it in as far as it goes, too.
  absl::Status Fill(const EntryResult& result, const MoveRef& move, v1::StepResponse* response) {
    response->set_position(result.position.value());
    *response->mutable_digest() = storage::ToProto(result.digest);
    response->set_applied(core_.store->AppliedPosition().value());
    absl::Status status = ToStatus(result, move);
    if (!status.ok() && move.id.value() != 0) {
      LogInfo("shard", "a step of a move was refused",
              {{"migration", move.id}, {"attempt", move.attempt}, {"status", status}});
    }
    return status;
  }

  template <typename Fn, typename Response>
  absl::Status Look(Fn fn, Response* response) {
    if (const auto term = core_.proposer->ServingTerm(); !term.ok()) return term.status();
    auto result = fn();
    if (result.ok()) *response = *std::move(result);
    return result.status();
  }

  const Core& core_;
  Splitter& splitter_;
  ImportController& imports_;
  Executor* const steps_;
  Executor* const slow_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeMoveService(const Core* core, Splitter* splitter, ImportController* imports,
                                               Executor* steps, Executor* slow) {
  return std::make_unique<MoveService>(core, splitter, imports, steps, slow);
}

}  // namespace terrane::shard
