#include "proxy/routed_call.h"

#include "common/status.h"
#include "proxy/retry_decision.h"
#include "rpc/status.h"
#include "rpc/unary.h"

namespace terrane::proxy {
namespace {

// How often a rejection may send a request out again without a pause.
constexpr int kQuickRetries = 4;

}  // namespace

void CallsInFlight::Add(grpc::ClientContext* context, const ShardLink* link, std::string leader) {
  Part& part = PartOf(context);
  std::lock_guard lock(part.mutex);
  part.contexts.insert_or_assign(context, Place{link, std::move(leader)});
  if (cancelled_) context->TryCancel();
}

void CallsInFlight::Remove(grpc::ClientContext* context) {
  Part& part = PartOf(context);
  std::lock_guard lock(part.mutex);
  part.contexts.erase(context);
}

void CallsInFlight::CancelAtOtherLeaders(const ShardLink* link, std::string_view leader) {
  for (Part& part : parts_) {
    std::lock_guard lock(part.mutex);
    for (const auto& [context, place] : part.contexts) {
      if (place.link == link && !place.leader.empty() && place.leader != leader) context->TryCancel();
    }
  }
}

void CallsInFlight::CancelAll() {
  cancelled_ = true;
  for (Part& part : parts_) {
    std::lock_guard lock(part.mutex);
    for (const auto& [context, place] : part.contexts) context->TryCancel();
  }
}

void RoutedCall::Attempt() {
  const MonotonicTime now = Clock::System()->Now();
  if (scope_.caller != nullptr && scope_.caller->cancelled())
    return End(CallEnd::kAnswered, absl::CancelledError("the caller went away"));
  if (now >= scope_.deadline) {
    if (last_error_.ok()) last_error_ = absl::DeadlineExceededError("the deadline is over");
    return End(CallEnd::kAnswered, last_error_);
  }
  const auto map = environment_->table->Get();
  const routing::ChunkRoute* route = map->Find(scope_.collection, key_);
  if (route == nullptr) {
    if (map->FindCollection(scope_.collection) == nullptr && map->revision() > Revision(0)) {
      return End(CallEnd::kAnswered,
                 rpc::WithReason(NotFound("the collection was dropped"), v1::ErrorDetail::NO_SUCH_COLLECTION));
    }
    last_error_ = Unavailable("nobody is known to own the chunk");
    return Refresh();
  }
  if (!Fits(*route)) return End(CallEnd::kReplan, absl::OkStatus());
  route_ = *route;
  if (JoinHold()) return;
  link_ = environment_->links->For(route_.shard);
  ShardLink::Target target = AnyReplica() ? link_->Any(replicas_tried_) : link_->Leader();
  if (target.stub == nullptr) {
    last_error_ = Unavailable("no endpoint of shard ", route_.shard, " is known");
    return Refresh();
  }
  endpoint_ = std::move(target.endpoint);
  context_.emplace();
  context_->set_deadline(rpc::SystemDeadline(
      link_->replicated() ? std::min<MonotonicTime>(scope_.deadline, now + attempt_timeout_) : scope_.deadline));
  environment_->in_flight->Add(&*context_, link_, AnyReplica() ? "" : endpoint_);
  Transmit(target.stub, &*context_, route_,
           [self = shared_from_this()](const grpc::Status& answer) { self->Answered(answer); });
}

void RoutedCall::AttemptAgain() {
  if (scope_.caller != nullptr) scope_.caller->NoteResent();
  Attempt();
}

void RoutedCall::End(CallEnd end, absl::Status status) {
  Ended(end, ForApplication(status));
}

void RoutedCall::Answered(const grpc::Status& answer) {
  environment_->in_flight->Remove(&*context_);
  if (answer.ok()) {
    if (!AnyReplica()) link_->Answered(endpoint_);
    return End(CallEnd::kAnswered, absl::OkStatus());
  }
  absl::Status status = rpc::FromGrpc(answer);
  // Not by the application (Attempt looks at that): the shard is ending, or another leader was announced. Should it be
  // the last word, it must be one that says "try again".
  const bool cancelled = absl::IsCancelled(status);
  if (cancelled) status = Unavailable("the request was broken off: ", MessageOf(status));
  auto detail = rpc::DetailOf(status);
  last_error_ = status;
  // Every write bears a RetryId (document_service.h), so all requests may be repeated.
  switch (Decide(status, detail, /*repeatable=*/true, link_->replicated())) {
    case NextMove::kReturn:
      // Whose disk is full is for people; other answers are about the request.
      return End(CallEnd::kAnswered,
                 absl::IsResourceExhausted(status) ? Annotate(status, StrCat("shard ", route_.shard)) : status);
    case NextMove::kLearnRoute:
      // A shard may leave out its own name.
      if (detail->route().shard().empty()) detail->mutable_route()->set_shard(route_.shard);
      environment_->table->Learn(detail->route());
      if (detail->route().token() > route_.token.value() && quick_retries_++ < kQuickRetries) return AttemptAgain();
      return Refresh();
    case NextMove::kRefreshRoute: {
      // Perhaps the news has come meanwhile.
      const auto map = environment_->table->Get();
      const routing::ChunkRoute* route = map->Find(scope_.collection, key_);
      if (route != nullptr && route->token > route_.token && quick_retries_++ < kQuickRetries) return AttemptAgain();
      return Refresh();
    }
    case NextMove::kHold:
      return Hold(status, detail);
    case NextMove::kPause:
      return Pause();
    case NextMove::kOtherReplica:
      last_error_ = Annotate(status, StrCat("shard ", route_.shard, " at ", endpoint_));
      // It may be paused, or the request takes so long.
      if (absl::IsDeadlineExceeded(status)) attempt_timeout_ *= 2;
      if (AnyReplica()) {
        if (++replicas_tried_ < link_->replicas()) return AttemptAgain();
        replicas_tried_ = 0;
        (void)link_->Failed(endpoint_, status);
        return Pause();
      }
      // In words that make the link look for another leader; the last word stays what it is.
      if (absl::IsDataLoss(status)) status = Unavailable("a damaged replica");
      if (link_->Failed(endpoint_, status) && quick_retries_++ < kQuickRetries) return AttemptAgain();
      // Cancelled because another one was announced (CancelAtOtherLeaders): it need not wait.
      if (cancelled && link_->Leader().endpoint != endpoint_ && quick_retries_++ < kQuickRetries) {
        return AttemptAgain();
      }
      return Pause();
  }
}

HoldQueue::Request RoutedCall::HeldRequest() {
  return {scope_.deadline, Bytes(), write_,
          [self = shared_from_this()](const absl::Status& status) { self->Resume(status); }};
}

bool RoutedCall::JoinHold() {
  if (std::exchange(probing_, false)) return false;
  HoldQueue::Request request = HeldRequest();
  switch (environment_->holds->Join(scope_.collection, route_, request)) {
    case HoldQueue::Answer::kHeld:
      return true;
    case HoldQueue::Answer::kRefused:
      Resume(rpc::WithReason(Unavailable("too many requests wait for a chunk that is being moved; try again"),
                             v1::ErrorDetail::HOLD_EXPIRED));
      return true;
    case HoldQueue::Answer::kSendAgain:
    case HoldQueue::Answer::kNoHold:
      return false;
  }
  return false;
}

void RoutedCall::Hold(const absl::Status& status, const std::optional<v1::ErrorDetail>& detail) {
  HoldQueue::Request request = HeldRequest();
  const SwitchAttempt attempt{MigrationId(detail->migration_id()), terrane::Attempt(detail->attempt())};
  switch (environment_->holds->OnFenced(scope_.collection, route_, attempt, *environment_->table, key_, request)) {
    case HoldQueue::Answer::kHeld:
      return;
    case HoldQueue::Answer::kSendAgain:
    case HoldQueue::Answer::kNoHold:
      if (quick_retries_++ < kQuickRetries) return AttemptAgain();
      return Pause();
    case HoldQueue::Answer::kRefused:
      return End(CallEnd::kAnswered,
                 rpc::WithReason(Annotate(status, "held as long as allowed"), v1::ErrorDetail::HOLD_EXPIRED));
  }
}

void RoutedCall::Resume(const absl::Status& status) {
  if (!status.ok()) return End(CallEnd::kAnswered, status);
  probing_ = true;
  quick_retries_ = 0;
  AttemptAgain();
}

void RoutedCall::Refresh() {
  environment_->watcher->Refresh(scope_.deadline, [self = shared_from_this()](const absl::Status& status) {
    if (!status.ok()) self->last_error_ = Annotate(self->last_error_, "the metadata service does not answer");
    self->Pause();
  });
}

void RoutedCall::Pause() {
  const auto pause = backoff_.Next(Clock::System()->Now(), scope_.deadline);
  if (!pause) return End(CallEnd::kAnswered, last_error_);
  environment_->timer->After(*pause, [self = shared_from_this()] { self->AttemptAgain(); });
}

}  // namespace terrane::proxy
