// A log that says what a test wants about leadership and keeps proposals until they are let go.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "replication/replicated_log.h"

namespace terrane::shard {

class FakeLog : public replication::ReplicatedLog {
 public:
  struct Proposal {
    Term term;
    std::string data;
    std::function<void(replication::ProposeResult)> done;
    std::function<void()> synced;
  };

  void SetLeader(bool is_leader, bool ready, Term term) {
    std::lock_guard lock(mutex_);
    leader_ = {.is_leader = is_leader, .ready_to_serve = ready, .term = term, .leader = {}};
  }
  // The next `asks` times the leader is what was set, then it leads in another term.
  void ChangeTermAfter(int asks, Term term) {
    std::lock_guard lock(mutex_);
    asks_ = asks;
    next_term_ = term;
  }
  void SetLease(bool lease) { lease_ = lease; }
  size_t proposals() const {
    std::lock_guard lock(mutex_);
    return proposals_.size();
  }
  Proposal Take() {
    std::lock_guard lock(mutex_);
    Proposal proposal = std::move(proposals_.front());
    proposals_.pop_front();
    return proposal;
  }
  // What a ReadIndex under way does before it is answered.
  std::function<void()> before_read_index;

  using ReplicatedLog::Propose;
  void Propose(Term term, std::string data, std::function<void(replication::ProposeResult)> done,
               std::function<void()> synced) override {
    std::lock_guard lock(mutex_);
    proposals_.push_back({term, std::move(data), std::move(done), std::move(synced)});
  }
  replication::LeaderState Leader() const override {
    std::lock_guard lock(mutex_);
    if (asks_ > 0 && --asks_ == 0) {
      replication::LeaderState last = leader_;
      leader_.term = next_term_;
      return last;
    }
    return leader_;
  }
  void ReadIndex(std::function<void(absl::Status)> done) override {
    if (before_read_index) before_read_index();
    done(absl::OkStatus());
  }
  bool HasLease() const override { return lease_; }
  Position Applied() const override { return {}; }
  Position Committed() const override { return {}; }
  void CutLog(std::function<void(absl::Status)> done) override { done(absl::OkStatus()); }
  absl::Status TransferLeadership(ReplicaId) override { return absl::OkStatus(); }
  void ChangeMember(replication::MemberChange, ReplicaId, const std::string&,
                    std::function<void(absl::Status)> done) override {
    done(absl::OkStatus());
  }
  std::vector<replication::MemberStatus> Members() const override { return {}; }
  Position ConfigurationPosition() const override { return {}; }
  void SetLeaderContact(std::optional<MonotonicTime> contact) {
    std::lock_guard lock(mutex_);
    contact_ = contact;
  }
  std::optional<MonotonicTime> LeaderContact() const override {
    std::lock_guard lock(mutex_);
    return contact_;
  }
  replication::LogStatistics Statistics() const override { return {}; }
  void Stop() override {}

 private:
  mutable std::mutex mutex_;
  mutable replication::LeaderState leader_;
  mutable int asks_ = 0;
  std::optional<MonotonicTime> contact_;
  Term next_term_;
  std::deque<Proposal> proposals_;
  std::atomic<bool> lease_{true};
};

}  // namespace terrane::shard
