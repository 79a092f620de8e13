// Conversations of a group, written down in tests/scenarios/raft/*.txt and played again.
//
// A scenario is made of blocks: commands, a line "----", and what happens, up to an empty line. A line that begins with
// # is for the reader. To write down what happens now: TERRANE_REWRITE_SCENARIOS=1 raft_test
// --gtest_filter='*Scenario*', then read the difference. The commands:
//
// - group N: voters 1..N, started long ago. empty N: a replica that nobody knows yet.
// - campaign N: its election timeout passes. elect N: the same, and all messages arrive.
// - settle: all messages arrive. deliver A->B: those arrive. drop, drop A->B: all, or those, are lost.
// - isolate N, cut A B, heal: the network.
// - pass MS: time passes and nobody looks at the clock. run MS: time passes for all.
// - hold-disk N, release-disk N, hold-apply N, release-apply N, crash N, restart N, compact N INDEX: the hosts.
// - propose N DATA..., read N CONTEXT, transfer A B (0: to the best), change N voters 1,2 learners 3 (-: none).
// - log N, status N: how it is. silently COMMAND: does it without a word.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "raft/group.h"

namespace terrane::raft {
namespace {

std::vector<uint64_t> Numbers(const std::string& list) {
  std::vector<uint64_t> out;
  std::istringstream in(list);
  for (std::string number; std::getline(in, number, ',');) {
    if (!number.empty() && number != "-") out.push_back(std::stoull(number));
  }
  return out;
}

class Scenario {
 public:
  // Does one line and returns what happened.
  std::string Do(const std::string& line) {
    std::istringstream in(line);
    std::string command;
    in >> command;
    if (command == "group") {
      uint64_t voters = 0;
      in >> voters;
      group_ = std::make_unique<Group>(voters);
      return "";
    }
    if (command == "silently") {
      std::string rest;
      std::getline(in, rest);
      Do(rest);
      return "";
    }
    if (group_ == nullptr) return "a scenario begins with a group\n";
    std::string answer = DoToGroup(command, in);
    return group_->TakeTrace() + answer;
  }

 private:
  static std::string Refused(Refusal refusal) {
    return refusal == Refusal::kNone ? "" : "refused: " + std::string(ToString(refusal)) + "\n";
  }

  std::string DoToGroup(const std::string& command, std::istringstream& in) {
    Group& group = *group_;
    if (command == "settle") return group.Settle(), "";
    if (command == "heal") return group.Heal(), "";
    if (command == "deliver" || command == "drop") return DoToMessages(command, in);
    uint64_t id = 0;
    in >> id;
    if (command == "pass") return group.Pass(std::chrono::milliseconds(id)), "";
    if (command == "run") return group.Run(std::chrono::milliseconds(id)), "";
    if (command == "empty") return group.AddEmpty(id), "";
    if (command == "elect") return group.Elect(id), "";
    if (command == "campaign") return group.Pass(700ms), group.Tick(id), "";
    if (command == "isolate") return group.Isolate(id), "";
    if (command == "hold-disk") return group.HoldDisk(id), "";
    if (command == "release-disk") return group.ReleaseDisk(id), "";
    if (command == "hold-apply") return group.HoldApply(id), "";
    if (command == "release-apply") return group.ReleaseApply(id), "";
    if (command == "crash") return group.Crash(id), "";
    if (command == "restart") return group.Restart(id), "";
    if (command == "log") return group.Terms(id) + "\n";
    if (command == "status") return Status(id);
    if (command == "propose") {
      std::string answer;
      for (std::string data; in >> data;) answer += Refused(group.Propose(id, data).refusal);
      return answer;
    }
    if (command == "change") {
      std::string word, voters, learners;
      in >> word >> voters >> word >> learners;
      return Refused(group.Change(id, Numbers(voters), Numbers(learners)).refusal);
    }
    uint64_t other = 0;
    in >> other;
    if (command == "cut") return group.Cut(id, other), "";
    if (command == "compact") return group.Compact(id, other), "";
    Refusal refusal = Refusal::kNone;
    if (command == "transfer") {
      refusal = group[id].TransferLeadership(ReplicaId(other), group.now());
    } else if (command == "read") {
      refusal = group[id].ReadIndex(other);
    } else {
      return "unknown command\n";
    }
    group.Collect(id);
    return Refused(refusal);
  }

  std::string DoToMessages(const std::string& command, std::istringstream& in) {
    std::string lane;
    if (!(in >> lane)) return group_->DropAll(), "";
    uint64_t from = std::stoull(lane);
    uint64_t to = std::stoull(lane.substr(lane.find('>') + 1));
    auto wanted = [&](const Message& message) {
      return message.from == ReplicaId(from) && message.to == ReplicaId(to);
    };
    command == "deliver" ? group_->DeliverOnly(wanted) : group_->Drop(wanted);
    return "";
  }

  std::string Status(uint64_t id) {
    const Core& core = (*group_)[id];
    std::string out = std::string(ToString(core.role())) + " term " + std::to_string(core.term().value()) + " last " +
                      std::to_string(core.last_index().value()) + " synced " + std::to_string(core.synced().value()) +
                      " commit " + std::to_string(core.commit().value()) + " applied " +
                      std::to_string(core.applied().value()) + "\n";
    for (const PeerStatus& peer : core.peers()) {
      const char* states[] = {"probe", "replicate", "snapshot"};
      out += "  " + std::to_string(peer.id.value()) + (peer.voter ? " voter " : " learner ") +
             states[static_cast<int>(peer.state)] + " match " + std::to_string(peer.match.value()) + " next " +
             std::to_string(peer.next.value()) + "\n";
    }
    return out;
  }

  std::unique_ptr<Group> group_;
};

// Plays the text and returns it with what happens in the place of what was expected.
std::string Play(std::istream& in) {
  Scenario scenario;
  std::string out;
  std::string happened;
  bool in_commands = true;
  for (std::string line; std::getline(in, line);) {
    if (line == "----") {
      out += "----\n" + happened;
      happened.clear();
      in_commands = false;
    } else if (line.empty()) {
      out += "\n";
      in_commands = true;
    } else if (in_commands) {
      out += line + "\n";
      if (line[0] != '#') happened += scenario.Do(line);
    }
  }
  return out;
}

std::vector<std::string> Scenarios() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(TERRANE_SOURCE_DIR "/tests/scenarios/raft")) {
    if (file.path().extension() == ".txt") names.push_back(file.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class RaftScenario : public testing::TestWithParam<std::string> {};

TEST_P(RaftScenario, GoesAsWritten) {
  std::string path = std::string(TERRANE_SOURCE_DIR "/tests/scenarios/raft/") + GetParam() + ".txt";
  std::ifstream file(path);
  std::stringstream expected;
  expected << file.rdbuf();
  std::string happened = Play(expected);
  if (std::getenv("TERRANE_REWRITE_SCENARIOS") != nullptr) {
    std::ofstream(path) << happened;
    return;
  }
  EXPECT_EQ(happened, expected.str()) << path;
}
INSTANTIATE_TEST_SUITE_P(Each, RaftScenario, testing::ValuesIn(Scenarios()),
                         [](const testing::TestParamInfo<std::string>& info) { return info.param; });

TEST(RaftScenarioTest, ThereAreScenarios) {
  EXPECT_GE(Scenarios().size(), 8u);
}

}  // namespace
}  // namespace terrane::raft
