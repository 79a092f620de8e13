// A conversation with NextStep: the test plays the metadata service and both shards.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "common/strings.h"
#include "migration/move_task.h"
#include "migration/next_step.h"

namespace terrane::migration {

// Answers nothing by itself: every step and command waits until the test lets it end.
class Conversation {
 public:
  Conversation() {
    record_.set_id(7);
    record_.set_collection_id(3);
    record_.mutable_range()->set_min("a");
    record_.mutable_range()->set_max("m");
    record_.set_source("s1");
    record_.set_target("s2");
    record_.set_source_copy(11);
    record_.set_target_copy(12);
    record_.set_attempt(1);
    record_.set_token(5);
    record_.set_schema_revision(2);
    record_.set_max_pause_ms(2000);
    task_.seen.metadata_commit = Milliseconds(1);
    Commit();
  }

  v1::Migration& record() { return record_; }
  Observations& seen() { return task_.seen; }
  const std::string& waiting() const { return plan_.waiting; }
  MonotonicTime now() const { return now_; }

  // The record as changed by the test is committed; what is next is asked.
  void Commit() {
    if (task_.Update(record_, ++generation_, now_)) {
      // What is still on its way belongs to another stage or attempt: its answers count for nothing.
      in_flight_.clear();
      command_.Clear();
    }
    Ask();
  }
  void Enter(Stage stage) {
    record_.set_stage(ToProto(stage));
    Commit();
  }

  // Time goes on, in milliseconds.
  void Pass(int64_t ms) {
    now_ += std::chrono::milliseconds(ms);
    wall_ += std::chrono::milliseconds(ms);
    Ask();
  }
  // Only the wall clock jumps.
  void JumpWall(int64_t ms) {
    wall_ += std::chrono::milliseconds(ms);
    Ask();
  }

  // Steps that are under way, as "fence@s1 import@s2", in the order of StepKind.
  std::string InFlight() const {
    std::string text;
    for (const auto& [kind, step] : in_flight_)
      StrAppend(&text, text.empty() ? "" : " ", NameOf(kind), "@", step.shard);
    return text;
  }
  template <typename Request>
  Request Asked(StepKind kind) const {
    auto found = in_flight_.find(kind);
    if (found == in_flight_.end()) {
      ADD_FAILURE() << NameOf(kind) << " was not asked";
      return {};
    }
    return std::get<Request>(found->second.request);
  }

  void Answer(StepKind kind, uint64_t position = 1) {
    v1::StepResponse response;
    response.set_position(position);
    response.mutable_digest()->mutable_documents()->set_low(99);
    End(kind, StepAnswer(response));
  }
  void AnswerImport(bool copied, int64_t lag = 0, double rate = 10000) {
    v1::ImportStatus status;
    status.set_copied(copied);
    status.set_source_applied(100'000);
    status.set_lag_entries(lag);
    status.set_apply_entries_per_s(rate);
    status.set_documents(40);
    End(StepKind::kImport, StepAnswer(status));
  }
  // Copied, but what it says of its lag was not measured: its tail has heard nothing of the source yet, or not any
  // more.
  void AnswerImportUnheard() {
    v1::ImportStatus status;
    status.set_copied(true);
    End(StepKind::kImport, StepAnswer(status));
  }
  void AnswerImportBroken(const std::string& error) {
    v1::ImportStatus status;
    status.set_copied(true);
    status.set_source_applied(100'000);
    status.set_error(error);
    End(StepKind::kImport, StepAnswer(status));
  }
  // It copies, and its last try ended with this.
  void AnswerImportFailed(absl::StatusCode code, const std::string& error) {
    v1::ImportStatus status;
    status.set_error(error);
    status.set_error_code(static_cast<int>(code));
    End(StepKind::kImport, StepAnswer(status));
  }
  void AnswerVerify(bool done, bool equal) {
    v1::VerifyStatus status;
    status.set_done(done);
    status.set_equal(equal);
    status.set_documents(40);
    End(StepKind::kVerify, StepAnswer(status));
  }
  void Fail(StepKind kind, absl::Status status) { End(kind, std::move(status)); }

  // The command that is under way; COMMAND_NOT_SET if there is none.
  const v1::MetadataCommand& command() const { return command_; }
  // It came back; `status` as the coordinator sees it. The record stays as the test left it.
  void EndCommand(absl::Status status) {
    command_.Clear();
    task_.seen.proposing = false;
    task_.seen.propose_error = std::move(status);
    if (!task_.seen.propose_error.ok()) task_.seen.propose_not_before = now_ + std::chrono::milliseconds(50);
    task_.seen.metadata_commit_at = now_;
    Ask();
  }
  // It came back and is committed: the stage it leads to is entered, as the metadata service would.
  void Accept() {
    v1::MetadataCommand command = command_;
    command_.Clear();
    task_.seen.proposing = false;
    task_.seen.metadata_commit_at = now_;
    if (command.has_advance_migration()) {
      ASSERT_EQ(command.advance_migration().attempt(), record_.attempt());
      ASSERT_EQ(command.advance_migration().from(), record_.stage());
      record_.set_stage(command.advance_migration().to());
      const auto& update = command.advance_migration().update();
      if (update.fence_deadline_ms() != 0) record_.set_fence_deadline_ms(update.fence_deadline_ms());
      if (update.pin() != 0) record_.set_pin(update.pin());
      if (update.has_figures()) *record_.mutable_figures() = update.figures();
    } else if (command.has_end_attempt()) {
      if (StageOf(record_) == Stage::kFencing) record_.set_token(record_.token() + 1);
      if (!command.end_attempt().abort()) record_.set_attempt(record_.attempt() + 1);
      record_.set_stage(command.end_attempt().abort() ? v1::Migration::ABORTING : v1::Migration::CATCHING_UP);
      record_.set_reason(command.end_attempt().why());
    } else if (command.has_commit_migration()) {
      record_.set_stage(v1::Migration::COMMITTED);
      record_.set_complete(command.commit_migration().complete());
      *record_.mutable_figures() = command.commit_migration().figures();
    } else {
      FAIL() << "nothing is proposed";
    }
    Commit();
  }
  // The stage that the command under way leads to, "end attempt", "commit", or "".
  std::string Proposes() const {
    if (command_.has_advance_migration())
      return std::string(NameOf(static_cast<Stage>(command_.advance_migration().to())));
    if (command_.has_end_attempt()) return command_.end_attempt().abort() ? "abort" : "end attempt";
    if (command_.has_commit_migration()) return "commit";
    return "";
  }

  // A coordinator that knows nothing but the record takes over.
  void NewCoordinator() {
    task_ = MoveTask();
    task_.seen.metadata_commit = Milliseconds(1);
    task_.seen.metadata_commit_at = now_;
    in_flight_.clear();
    command_.Clear();
    Commit();
  }

  // From `planned` to `fencing`, everybody willing.
  void ReachFencing() {
    Accept();  // preparing
    Answer(StepKind::kPin, 100);
    Answer(StepKind::kPrepare);
    Accept();  // copying
    AnswerImport(true);
    Accept();  // catching up
    AnswerImport(true);
    Accept();  // verifying
    AnswerImport(true);
    AnswerVerify(true, true);
    Accept();  // fencing
  }

 private:
  void End(StepKind kind, absl::StatusOr<StepAnswer> answer) {
    ASSERT_EQ(in_flight_.count(kind), 1u) << NameOf(kind) << " is not under way: " << InFlight();
    in_flight_.erase(kind);
    if (task_.seen.step(kind).in_flight) task_.Answered(kind, now_, now_, std::move(answer));
    Ask();
  }

  void Ask() {
    task_.seen.now = now_;
    task_.seen.wall = wall_;
    plan_ = NextStep(task_.record, task_.seen);
    for (Step& step : plan_.sends) {
      EXPECT_FALSE(task_.seen.step(step.kind).in_flight) << NameOf(step.kind);
      task_.Sent(step.kind, now_);
      in_flight_[step.kind] = std::move(step);
    }
    if (plan_.command) {
      EXPECT_FALSE(task_.seen.proposing);
      task_.seen.proposing = true;
      command_ = *plan_.command;
    }
    // Whoever has nothing under way and waits for no record must ask to be woken.
    if (in_flight_.empty() && command_.command_case() == v1::MetadataCommand::COMMAND_NOT_SET &&
        !IsEnded(StageOf(record_)) && StageOf(record_) != Stage::kRollingBack && task_.seen.admitted &&
        task_.seen.pause_at.empty()) {
      EXPECT_TRUE(plan_.wake_at.has_value())
          << "asleep for ever in " << NameOf(StageOf(record_)) << ": " << plan_.waiting;
    }
  }

  v1::Migration record_;
  MoveTask task_;
  Plan plan_;
  MonotonicTime now_ = std::chrono::seconds(1000);
  WallTime wall_ = std::chrono::milliseconds(1'700'000'000'000);
  uint64_t generation_ = 0;
  std::map<StepKind, Step> in_flight_;
  v1::MetadataCommand command_;
};

}  // namespace terrane::migration
