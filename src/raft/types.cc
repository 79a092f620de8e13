#include "raft/types.h"

#include <algorithm>

namespace terrane::raft {
namespace {

void PutNumber(std::string* out, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out->push_back(static_cast<char>(value >> shift));
}

// Takes eight bytes off the front. REQUIRES: bytes->size() >= 8.
uint64_t TakeNumber(std::string_view* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>((*bytes)[i])) << (8 * i);
  bytes->remove_prefix(8);
  return value;
}

void PutMembers(std::string* out, const std::vector<ReplicaId>& members) {
  PutNumber(out, members.size());
  for (ReplicaId id : members) PutNumber(out, id.value());
}

bool TakeMembers(std::string_view* bytes, std::vector<ReplicaId>* members) {
  if (bytes->size() < 8) return false;
  uint64_t count = TakeNumber(bytes);
  if (count > kMembersMax || bytes->size() < count * 8) return false;
  for (uint64_t i = 0; i < count; ++i) members->push_back(ReplicaId(TakeNumber(bytes)));
  return true;
}

// Absent when nothing is said, so that a configuration without it looks as it did before there was any.
void PutAbout(std::string* out, const std::map<ReplicaId, std::string>& about) {
  if (about.empty()) return;
  PutNumber(out, about.size());
  for (const auto& [id, text] : about) {
    PutNumber(out, id.value());
    PutNumber(out, text.size());
    out->append(text);
  }
}

bool TakeAbout(std::string_view* bytes, std::map<ReplicaId, std::string>* about) {
  if (bytes->empty()) return true;
  if (bytes->size() < 8) return false;
  const uint64_t count = TakeNumber(bytes);
  if (count == 0 || count > kMembersMax) return false;
  ReplicaId last;
  for (uint64_t i = 0; i < count; ++i) {
    if (bytes->size() < 16) return false;
    const ReplicaId id(TakeNumber(bytes));
    const uint64_t size = TakeNumber(bytes);
    if (id <= last || size == 0 || size > bytes->size()) return false;
    about->emplace(id, std::string(bytes->substr(0, size)));
    bytes->remove_prefix(size);
    last = id;
  }
  return true;
}

std::string Text(Position position) {
  return std::to_string(position.value());
}
std::string Text(Position position, Term term) {
  return Text(position) + "/" + std::to_string(term.value());
}

}  // namespace

bool Configuration::IsVoter(ReplicaId id) const {
  return std::binary_search(voters.begin(), voters.end(), id);
}

bool Configuration::IsLearner(ReplicaId id) const {
  return std::binary_search(learners.begin(), learners.end(), id);
}

bool Configuration::IsValid() const {
  auto strictly_sorted = [](const std::vector<ReplicaId>& ids) {
    return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end();
  };
  if (voters.empty() || voters.size() + learners.size() > kMembersMax) return false;
  if (!strictly_sorted(voters) || !strictly_sorted(learners)) return false;
  if (voters.front() == ReplicaId() || (!learners.empty() && learners.front() == ReplicaId())) return false;
  for (const auto& [id, text] : about) {
    if (!Contains(id) || text.empty()) return false;
  }
  return std::none_of(learners.begin(), learners.end(), [this](ReplicaId id) { return IsVoter(id); });
}

std::string EncodeConfiguration(const Configuration& configuration) {
  std::string out;
  PutMembers(&out, configuration.voters);
  PutMembers(&out, configuration.learners);
  PutAbout(&out, configuration.about);
  return out;
}

std::optional<Configuration> DecodeConfiguration(std::string_view bytes) {
  Configuration configuration;
  if (!TakeMembers(&bytes, &configuration.voters) || !TakeMembers(&bytes, &configuration.learners) ||
      !TakeAbout(&bytes, &configuration.about)) {
    return std::nullopt;
  }
  if (!bytes.empty() || !configuration.IsValid()) return std::nullopt;
  return configuration;
}

std::string_view ToString(MessageType type) {
  switch (type) {
    case MessageType::kPreVote:
      return "PreVote";
    case MessageType::kPreVoteAnswer:
      return "PreVoteAnswer";
    case MessageType::kVote:
      return "Vote";
    case MessageType::kVoteAnswer:
      return "VoteAnswer";
    case MessageType::kAppend:
      return "Append";
    case MessageType::kAppendAnswer:
      return "AppendAnswer";
    case MessageType::kHeartbeat:
      return "Heartbeat";
    case MessageType::kHeartbeatAnswer:
      return "HeartbeatAnswer";
    case MessageType::kInstallSnapshot:
      return "InstallSnapshot";
    case MessageType::kSnapshotAnswer:
      return "SnapshotAnswer";
    case MessageType::kTimeoutNow:
      return "TimeoutNow";
    case MessageType::kReadIndex:
      return "ReadIndex";
    case MessageType::kReadIndexAnswer:
      return "ReadIndexAnswer";
  }
  return "unknown";
}

std::string ToString(const Message& message) {
  std::string out = std::to_string(message.from.value()) + "->" + std::to_string(message.to.value()) + " " +
                    std::string(ToString(message.type)) + " term " + std::to_string(message.term.value());
  std::string verdict = message.reject ? " no" : " yes";
  switch (message.type) {
    case MessageType::kPreVote:
      out += " for " + std::to_string(message.campaign_term.value()) + " end " + Text(message.index, message.log_term);
      break;
    case MessageType::kPreVoteAnswer:
      out += " for " + std::to_string(message.campaign_term.value()) + verdict;
      break;
    case MessageType::kVote:
      out += " end " + Text(message.index, message.log_term) + (message.transfer ? " transfer" : "");
      break;
    case MessageType::kVoteAnswer:
      out += verdict;
      break;
    case MessageType::kAppend:
      out += " prev " + Text(message.index, message.log_term) + " commit " + Text(message.commit);
      if (!message.entries.empty()) {
        out += " entries";
        for (const Entry& entry : message.entries) {
          out += " " + Text(entry.index, entry.term);
          if (entry.type == EntryType::kNormal) out += ":" + std::string(entry.data.view());
          if (entry.type == EntryType::kNoOp) out += ":noop";
          if (entry.type == EntryType::kConfiguration) out += ":configuration";
        }
      }
      break;
    case MessageType::kAppendAnswer:
      out += verdict + " " + Text(message.index);
      if (message.reject) out += " hint " + Text(message.hint_index, message.hint_term);
      break;
    case MessageType::kHeartbeat:
      out += " match " + Text(message.index, message.log_term) + " commit " + Text(message.commit) + " of " +
             Text(message.hint_index) + " round " + std::to_string(message.context);
      break;
    case MessageType::kHeartbeatAnswer:
      out += " round " + std::to_string(message.context);
      break;
    case MessageType::kInstallSnapshot:
      if (message.snapshot) out += " " + Text(message.snapshot->index, message.snapshot->term);
      break;
    case MessageType::kSnapshotAnswer:
      out += verdict + " " + Text(message.index, message.log_term);
      break;
    case MessageType::kTimeoutNow:
      break;
    case MessageType::kReadIndex:
      out += " context " + std::to_string(message.context);
      break;
    case MessageType::kReadIndexAnswer:
      out += verdict + " context " + std::to_string(message.context) + " index " + Text(message.index);
      break;
  }
  return out;
}

}  // namespace terrane::raft
