#include "tools/cluster_file.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/process.h"
#include "common/status.h"

namespace terrane::tools {
namespace {

constexpr int kFormat = 2;  // the greatest that this version reads
constexpr int kFormatWithoutNetwork = 1;
constexpr char kFileName[] = "cluster";

std::map<std::string, std::string> Pairs(std::string_view line) {
  std::map<std::string, std::string> pairs;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(ToAbsl(line), ' ', absl::SkipEmpty()))) {
    const size_t equals = word.find('=');
    if (equals != std::string::npos) pairs[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return pairs;
}

bool ParseRole(std::string_view name, Role* role) {
  for (Role candidate : {Role::kMetadata, Role::kShard, Role::kProxy}) {
    if (RoleName(candidate) != name) continue;
    *role = candidate;
    return true;
  }
  return false;
}

bool ParseProcess(std::string_view line, ClusterProcess* process) {
  std::map<std::string, std::string> pairs = Pairs(line);
  process->name = pairs["name"];
  process->shard = pairs["shard"];
  process->endpoint = pairs["endpoint"];
  process->join = pairs["join"] == "1";
  return !process->name.empty() && !process->endpoint.empty() && ParseRole(pairs["role"], &process->role) &&
         absl::SimpleAtoi(pairs["replica"], &process->replica) &&
         absl::SimpleAtoi(pairs["pid"], &process->process.pid) &&
         absl::SimpleAtoi(pairs["started"], &process->process.started);
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kMetadata:
      return "metadata";
    case Role::kShard:
      return "shard";
    case Role::kProxy:
      return "proxy";
  }
  return "unknown";
}

ClusterProcess* ClusterFile::Find(std::string_view name) {
  for (ClusterProcess& process : processes) {
    if (process.name == name) return &process;
  }
  return nullptr;
}
const ClusterProcess* ClusterFile::Find(std::string_view name) const {
  return const_cast<ClusterFile*>(this)->Find(name);
}

std::vector<std::string> ClusterFile::Endpoints(Role role) const {
  std::vector<std::string> endpoints;
  for (const ClusterProcess& process : processes) {
    if (process.role == role) endpoints.push_back(process.endpoint);
  }
  return endpoints;
}

std::vector<ClusterProcess*> ClusterFile::OfShard(std::string_view shard) {
  std::vector<ClusterProcess*> replicas;
  for (ClusterProcess& process : processes) {
    if (process.role == Role::kShard && process.shard == shard) replicas.push_back(&process);
  }
  return replicas;
}

int ClusterFile::ReplicasOfNewShard() const {
  if (replicas > 0) return replicas;
  std::map<std::string, int> made;  // those that were added are not of the beginning, and some may have been removed
  int most = 1;
  for (const ClusterProcess& process : processes) {
    if (process.role == Role::kShard && !process.join) most = std::max(most, ++made[process.shard]);
  }
  return most == 1 ? 1 : most <= 3 ? 3 : 5;
}

absl::StatusOr<ClusterFile> ClusterFile::Load(const std::filesystem::path& directory) {
  absl::StatusOr<std::string> text = ReadWholeFile(directory / kFileName);
  if (text.status().code() == absl::StatusCode::kNotFound) {
    return NotFound("no local cluster in ", directory.native(), ". Make one: terrane cluster start --dir ",
                    directory.native());
  }
  if (!text.ok()) return text.status();

  ClusterFile file;
  int number = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(*text, '\n', absl::SkipEmpty()))) {
    ++number;
    bool good = false;
    if (number == 1) {
      std::map<std::string, std::string> pairs = Pairs(line);
      int format = 0;
      good = absl::SimpleAtoi(pairs["format"], &format) && format >= 1;
      if (good && format > kFormat) {
        return FailedPrecondition((directory / kFileName).native(), " has format ", format,
                                  "; this version reads up to ", kFormat, ". Use a newer terrane");
      }
      file.cluster = pairs["cluster"];
      if (good && pairs.contains("replicas")) good = absl::SimpleAtoi(pairs["replicas"], &file.replicas);
    } else if (line.starts_with("programs ")) {
      file.programs = line.substr(9);
      good = !file.programs.empty();
    } else if (line.starts_with("network ")) {
      std::map<std::string, std::string> pairs = Pairs(line);
      file.network = ClusterNetwork{pairs["name"], pairs["subnet"]};
      good = !file.network->name.empty() && file.network->subnet.ends_with("/24");
    } else if (line.starts_with("process ")) {
      good = ParseProcess(line, &file.processes.emplace_back());
    } else if (line.starts_with("flag role=")) {
      const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 2));
      Role role;
      good = words.size() == 3 && ParseRole(std::string_view(words[1]).substr(5), &role);
      if (good) file.flags[role].push_back(words[2]);
    }
    if (!good) return DataLoss((directory / kFileName).native(), " line ", number, " is damaged: ", line);
  }
  if (number == 0) return DataLoss((directory / kFileName).native(), " is empty");
  return file;
}

absl::Status ClusterFile::Save(const std::filesystem::path& directory) const {
  std::string text = StrCat("format=", network ? kFormat : kFormatWithoutNetwork, " cluster=", cluster,
                            replicas > 0 ? StrCat(" replicas=", replicas) : "", "\n");
  if (network) StrAppend(&text, "network name=", network->name, " subnet=", network->subnet, "\n");
  if (!programs.empty()) StrAppend(&text, "programs ", programs, "\n");
  for (const ClusterProcess& p : processes) {
    StrAppend(&text, "process name=", p.name, " role=", RoleName(p.role), " shard=", p.shard, " replica=", p.replica,
              " endpoint=", p.endpoint, " pid=", p.process.pid, " started=", p.process.started, p.join ? " join=1" : "",
              "\n");
  }
  for (const auto& [role, list] : flags) {
    for (const std::string& flag : list) StrAppend(&text, "flag role=", RoleName(role), " ", flag, "\n");
  }
  return WriteFileAtomically(directory / kFileName, text);
}

void ClusterFile::Remove(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::remove(directory / kFileName, error);
}

}  // namespace terrane::tools
