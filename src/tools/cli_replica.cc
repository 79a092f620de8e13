// terrane shard replica list|add|promote|remove|replace, terrane shard step-down
#include <algorithm>
#include <thread>

#include "common/process.h"
#include "tools/cli_command.h"
#include "tools/health.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/table.h"

namespace terrane::tools {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBetweenLooks{50};
constexpr milliseconds kProbe{3'000};

struct ReplicaOptions {
  std::string shard;
  std::string replica;  // number, or the name of a process of the local cluster
  std::string with;     // replace: number of the new one
  std::string endpoint;
  bool no_wait = false;
};

absl::StatusOr<uint64_t> NumberOf(Cli& cli, std::string_view flag, const std::string& shard,
                                  const std::string& replica) {
  uint64_t number = 0;
  if (absl::SimpleAtoi(replica, &number) && number > 0) return number;
  if (cli.directory.empty()) {
    return InvalidArgument(flag, ": \"", replica,
                           "\" is not the number of a replica; give its number (terrane shard replica list ", shard,
                           "), or --dir of the local cluster to use names");
  }
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, cluster->Process(replica));
  if (info.process.role != Role::kShard) return InvalidArgument(flag, ": ", replica, " is no replica of a shard");
  if (info.process.shard != shard) {
    return InvalidArgument(flag, ": ", replica, " is a replica of ", info.process.shard, ", not of ", shard);
  }
  return info.process.replica;
}

// The process of a replica, if the cluster is a local one.
std::optional<ProcessInfo> ProcessOf(Cli& cli, const std::string& shard, uint64_t replica) {
  if (cli.directory.empty()) return std::nullopt;
  absl::StatusOr<std::unique_ptr<LocalCluster>> cluster = cli.OpenCluster();
  if (!cluster.ok()) return std::nullopt;
  for (ProcessInfo& info : (*cluster)->Processes()) {
    if (info.process.shard == shard && info.process.replica == replica) return std::move(info);
  }
  return std::nullopt;
}

absl::StatusOr<v1::Shard> FindShard(Cli& cli, client::Client& client, const std::string& name) {
  TERRANE_ASSIGN_OR_RETURN(const v1::ListShardsResponse list, client.ListShards(cli.Call()));
  std::string names;
  for (const v1::Shard& shard : list.shards()) {
    if (shard.name() == name) return shard;
    StrAppend(&names, names.empty() ? "" : ", ", shard.name());
  }
  return NotFound("no shard ", name, ". Shards: ", names);
}

absl::StatusOr<v1::Shard> Change(Cli& cli, client::Client& client, const std::string& shard, v1::ReplicaChange change,
                                 uint64_t replica, const std::string& endpoint = "") {
  v1::ChangeReplicaRequest request;
  request.set_shard(shard);
  request.set_change(change);
  request.set_replica_id(replica);
  request.set_endpoint(endpoint);
  absl::StatusOr<v1::ChangeReplicaResponse> response = client.ChangeReplica(request, cli.Call());
  if (!response.ok()) return Explain(client, response.status(), "", shard);
  return response->shard();
}

// How far a replica is that is to vote. True: it does.
bool Votes(const v1::Shard& shard, uint64_t replica, std::string* progress) {
  const v1::ReplicaStatus* learner = nullptr;
  uint64_t leader_applied = 0;
  for (const v1::ReplicaStatus& status : shard.statistics().replicas()) {
    if (status.replica_id() == replica && !status.learner()) return true;
    if (status.replica_id() == replica) learner = &status;
    if (status.leader()) leader_applied = status.applied();
  }
  const std::string name = StrCat("replica ", replica, " of ", shard.name());
  if (shard.leader_endpoint().empty()) {
    *progress = StrCat(name, " waits: ", NoLeader(shard));
  } else if (learner == nullptr) {
    *progress = StrCat(name, " waits for word of the leader");
  } else {
    *progress = StrCat(name, " fetches data: applied ", learner->applied(), " of ", leader_applied);
    if (learner->silent_ms() >= 1000) {
      StrAppend(progress, ", not heard of for ", learner->silent_ms() / 1000, " s");
    }
  }
  return false;
}

// Until the shard's leader says that it votes; kCancelled when interrupted, kDeadlineExceeded after a --deadline. Under
// an InterruptWatch.
absl::Status AwaitVoter(Cli& cli, client::Client& client, const std::string& shard, uint64_t replica) {
  const auto began = std::chrono::steady_clock::now();
  ProgressLine line(cli.err, cli.err_is_terminal, !cli.json);
  const std::string goes_on =
      StrCat("; replica ", replica, " of ", shard, " goes on by itself. Look: terrane shard replica list ", shard);
  while (true) {
    absl::StatusOr<v1::Shard> state = FindShard(cli, client, shard);
    if (absl::IsNotFound(state.status())) return state.status();
    std::string progress;
    if (state.ok() && Votes(*state, replica, &progress)) return absl::OkStatus();
    line.Update(state.ok() ? progress : std::string(MessageOf(state.status())));
    if (Interrupted() != 0) return absl::CancelledError("interrupted" + goes_on);
    if (cli.deadline && std::chrono::steady_clock::now() - began >= *cli.deadline) {
      return absl::DeadlineExceededError(StrCat("no vote after ", cli.deadline->count(), " ms", goes_on));
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

void PrintReplicas(const Cli& cli, const v1::Shard& shard) {
  const auto silence = SilenceOf(shard);
  std::vector<std::vector<std::string>> rows = {{"replica", "endpoint", "role", "applied", "last heard"}};
  for (const v1::ShardReplica& replica : shard.replicas()) {
    std::string role = replica.learner() ? "learner" : "voter";
    std::string applied = "-";
    std::string heard = "-";
    for (const v1::ReplicaStatus& status : shard.statistics().replicas()) {
      if (status.replica_id() != replica.replica_id()) continue;
      const bool leads = status.leader() && !silence;
      if (leads) role = "leader";
      if (status.fetching_checkpoint()) role += ", fetches a checkpoint";
      applied = StrCat(status.applied());
      heard = leads ? "-" : status.silent_ms() < 1000 ? "now" : StrCat(status.silent_ms() / 1000, " s ago");
    }
    rows.push_back({StrCat(replica.replica_id()), replica.endpoint(), role, applied, heard});
  }
  for (const std::string& line : Table({{.right = true}, {}, {}, {.right = true}, {}}, rows)) cli.Line(line);
  if (silence) {
    cli.Line(StrCat("the shard has been silent for ", silence->count(), " s: what is shown is of then"));
  } else if (shard.leader_endpoint().empty()) {
    cli.Line("nobody is known to lead the shard");
  }
}

absl::StatusOr<int> RunList(Cli& cli, const ReplicaOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::Shard shard, FindShard(cli, *client, options.shard));
  if (cli.json) {
    cli.Line(ToJson(shard));
  } else {
    PrintReplicas(cli, shard);
  }
  return kExitOk;
}

struct Added {
  uint64_t replica = 0;
  std::string endpoint;
  std::string name;  // of the process of a local cluster; else empty
};

// `endpoint` is to be one where somebody listens before the group counts on it.
absl::Status Probe(const Cli& cli, const std::string& endpoint) {
  if (!cli.tls_ca.empty()) return absl::OkStatus();  // a shard speaks only with who has a certificate of the cluster
  if (CheckHealth(endpoint, std::min(kProbe, cli.Deadline())).ok()) return absl::OkStatus();
  return Unavailable(endpoint, " does not answer: start terrane-shard with --join there first");
}

// A replica of a machine; `flag` is the one of its number.
absl::StatusOr<Added> Elsewhere(Cli& cli, const std::string& shard, std::string_view flag, const std::string& number,
                                const std::string& endpoint) {
  if (endpoint.empty()) {
    return InvalidArgument("--endpoint is missing. Start terrane-shard with --join on its machine, then add it with ",
                           flag, " NUMBER and --endpoint HOST:PORT; for a local cluster give --dir instead");
  }
  if (number.empty()) return InvalidArgument(flag, " is missing: the number that the new replica was started with");
  Added added;
  TERRANE_ASSIGN_OR_RETURN(added.replica, NumberOf(cli, flag, shard, number));
  added.endpoint = endpoint;
  TERRANE_RETURN_IF_ERROR(Probe(cli, endpoint));
  return added;
}

// What becomes of the process that was started for a replica that could not be added. `asked`: somebody was asked to
// take it in, and may have done so unless the failure says that it was refused.
absl::Status TakeBack(Cli& cli, client::Client& client, const std::string& shard, const Added& added,
                      const absl::Status& failure, bool asked) {
  const bool refused = !asked || absl::IsFailedPrecondition(failure) || absl::IsInvalidArgument(failure) ||
                       absl::IsNotFound(failure) || absl::IsUnimplemented(failure);
  const absl::StatusOr<v1::Shard> now = FindShard(cli, client, shard);
  bool member = !now.ok();
  if (now.ok()) {
    for (const v1::ShardReplica& replica : now->replicas()) {
      member = member || (replica.replica_id() == added.replica && replica.endpoint() == added.endpoint);
    }
  }
  std::string what;
  if (!refused || member) {
    what = StrCat(added.name, " was started for it and runs; it may be a replica by now. Look: terrane shard replica ",
                  "list ", shard, ". Not wanted: terrane shard replica remove ", shard, " --replica ", added.replica);
  } else {
    absl::Status stopped;
    if (auto cluster = cli.OpenCluster(); cluster.ok()) {
      stopped = (*cluster)->ForgetReplica(added.name).status();
    } else {
      stopped = cluster.status();
    }
    what = stopped.ok() ? StrCat(added.name, ", started for it, is stopped again; its directory is still there")
                        : StrCat(added.name, ", started for it, could not be stopped: ", MessageOf(stopped));
  }
  return absl::Status(failure.code(), StrCat(MessageOf(failure), ". ", what));
}

// Adds a replica as a learner; in a local cluster also its process. Under an InterruptWatch: Ctrl-C leaves no process
// behind that nobody has asked to be taken in.
absl::StatusOr<Added> Add(Cli& cli, client::Client& client, const std::string& shard, std::string_view flag,
                          const std::string& number, const std::string& endpoint) {
  if (!cli.directory.empty() && !(number.empty() && endpoint.empty())) {
    return InvalidArgument(endpoint.empty() ? flag : "--endpoint",
                           " is not for a local cluster: with --dir the process is started here, and gets its number "
                           "and its endpoint by itself");
  }
  if (cli.directory.empty()) {
    TERRANE_ASSIGN_OR_RETURN(Added added, Elsewhere(cli, shard, flag, number, endpoint));
    TERRANE_RETURN_IF_ERROR(Change(cli, client, shard, v1::ADD, added.replica, added.endpoint).status());
    return added;
  }
  TERRANE_ASSIGN_OR_RETURN(const v1::Shard before, FindShard(cli, client, shard));
  if (before.leader_endpoint().empty()) {
    return Unavailable("shard ", shard, " has ", NoLeader(before), ". Its replicas can be changed when it has one");
  }
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, cluster->AddReplica(shard));
  const Added added{info.process.replica, info.process.endpoint, info.process.name};
  if (Interrupted() != 0) {
    return TakeBack(cli, client, shard, added, absl::CancelledError("interrupted"), /*asked=*/false);
  }
  const absl::Status changed = Change(cli, client, shard, v1::ADD, added.replica, added.endpoint).status();
  if (!changed.ok()) return TakeBack(cli, client, shard, added, changed, /*asked=*/true);
  return added;
}

void PrintDone(const Cli& cli, const std::string& text, const std::string& shard, uint64_t replica) {
  if (cli.json) {
    cli.Line(JsonObject().Add("shard", shard).Add("replica", static_cast<int64_t>(replica)).Add("done", true).Finish());
  } else {
    cli.Line(text);
  }
}

std::string NameOf(const Added& added, const std::string& shard) {
  return added.name.empty() ? StrCat("replica ", added.replica, " of ", shard) : added.name;
}

absl::StatusOr<int> RunAdd(Cli& cli, const ReplicaOptions& options) {
  const InterruptWatch watch;
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const Added added,
                           Add(cli, *client, options.shard, "--replica", options.replica, options.endpoint));
  if (!options.no_wait) TERRANE_RETURN_IF_ERROR(AwaitVoter(cli, *client, options.shard, added.replica));
  PrintDone(cli,
            StrCat(NameOf(added, options.shard), " at ", added.endpoint,
                   options.no_wait ? " learns; it votes as soon as its data is close" : " is a voter"),
            options.shard, added.replica);
  return kExitOk;
}

absl::StatusOr<int> RunPromote(Cli& cli, const ReplicaOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const uint64_t replica, NumberOf(cli, "--replica", options.shard, options.replica));
  TERRANE_RETURN_IF_ERROR(Change(cli, *client, options.shard, v1::PROMOTE, replica).status());
  PrintDone(cli, StrCat("replica ", replica, " of ", options.shard, " is a voter"), options.shard, replica);
  return kExitOk;
}

// Out of the group; in a local cluster its process ends too.
absl::Status Remove(Cli& cli, client::Client& client, const std::string& shard, uint64_t replica) {
  TERRANE_ASSIGN_OR_RETURN(const v1::Shard before, FindShard(cli, client, shard));
  bool member = false;
  for (const v1::ShardReplica& known : before.replicas()) member = member || known.replica_id() == replica;
  const std::optional<ProcessInfo> process = ProcessOf(cli, shard, replica);
  if (!member && !process) return NotFound("shard ", shard, " has no replica ", replica);
  TERRANE_RETURN_IF_ERROR(Change(cli, client, shard, v1::REMOVE, replica).status());
  if (!process) return absl::OkStatus();
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  return cluster->ForgetReplica(process->process.name).status();
}

absl::StatusOr<int> RunRemove(Cli& cli, const ReplicaOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const uint64_t replica, NumberOf(cli, "--replica", options.shard, options.replica));
  const std::optional<ProcessInfo> process = ProcessOf(cli, options.shard, replica);
  TERRANE_RETURN_IF_ERROR(Remove(cli, *client, options.shard, replica));
  PrintDone(cli,
            StrCat("replica ", replica, " of ", options.shard, " is removed",
                   process ? StrCat("; its directory is still there: ", process->directory.native())
                           : ". Its process can be stopped"),
            options.shard, replica);
  return kExitOk;
}

absl::StatusOr<int> RunReplace(Cli& cli, const ReplicaOptions& options) {
  const InterruptWatch watch;
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const uint64_t old, NumberOf(cli, "--replica", options.shard, options.replica));
  TERRANE_ASSIGN_OR_RETURN(const v1::Shard before, FindShard(cli, *client, options.shard));
  bool member = false;
  for (const v1::ShardReplica& known : before.replicas()) member = member || known.replica_id() == old;
  if (!member) return NotFound("shard ", options.shard, " has no replica ", old);
  TERRANE_ASSIGN_OR_RETURN(const Added added,
                           Add(cli, *client, options.shard, "--with", options.with, options.endpoint));
  absl::Status done = AwaitVoter(cli, *client, options.shard, added.replica);
  if (done.ok()) done = Remove(cli, *client, options.shard, old);
  if (!done.ok()) {
    return absl::Status(done.code(),
                        StrCat(MessageOf(done), ". Replica ", old, " was not removed: terrane shard replica remove ",
                               options.shard, " --replica ", old, " when replica ", added.replica, " votes"));
  }
  PrintDone(cli, StrCat(NameOf(added, options.shard), " at ", added.endpoint, " has taken the place of replica ", old),
            options.shard, added.replica);
  return kExitOk;
}

absl::StatusOr<int> RunStepDown(Cli& cli, const ReplicaOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  v1::StepDownRequest request;
  request.set_shard(options.shard);
  if (!options.replica.empty()) {
    TERRANE_ASSIGN_OR_RETURN(const uint64_t to, NumberOf(cli, "--to", options.shard, options.replica));
    request.set_to(to);
  }
  const absl::StatusOr<v1::StepDownResponse> response = client->StepDown(request, cli.Call());
  if (!response.ok()) return Explain(*client, response.status(), "", options.shard);
  if (cli.json) {
    cli.Line(ToJson(*response));
  } else {
    cli.Line(
        StrCat("replica ", response->leader(), " leads ", options.shard, " now, at ", response->leader_endpoint()));
  }
  return kExitOk;
}

}  // namespace

void AddReplicaCommands(CLI::App& shard, Cli& cli) {
  CLI::App& group = *shard.add_subcommand("replica", "Replicas of a shard: list, add, promote, remove, replace");
  group.require_subcommand(1);
  const auto add = [&](const std::string& name, const std::string& help,
                       absl::StatusOr<int> (*run)(Cli&, const ReplicaOptions&)) {
    auto options = std::make_shared<ReplicaOptions>();
    CLI::App* command = AddCommand(group, cli, name, help, options, run);
    command->add_option("shard", options->shard, "Name of the shard: s1")->required();
    return std::pair(command, options);
  };
  const auto which = [](CLI::App* command, ReplicaOptions* options, const std::string& help) {
    return command->add_option("--replica", options->replica, help)->type_name("REPLICA");
  };
  const std::string by_number = "Number, or name of the process in a local cluster: 2, s1-b";

  add("list", "Replicas with their roles and how far they are", RunList);
  {
    auto [command, options] = add("add", "Add a replica: it fetches the data, then votes", RunAdd);
    which(command, options.get(), "Number that it was started with; not for a local cluster");
    command->add_option("--endpoint", options->endpoint, "Where it listens; not for a local cluster")
        ->type_name("HOST:PORT");
    command->add_flag("--no-wait", options->no_wait, "Do not wait until it votes");
  }
  {
    auto [command, options] = add("promote", "Make a replica that learns a voter now", RunPromote);
    which(command, options.get(), by_number)->required();
  }
  {
    auto [command, options] = add("remove", "Take a replica out of its shard", RunRemove);
    which(command, options.get(), by_number)->required();
  }
  {
    auto [command, options] = add("replace", "Add a replica, wait until it votes, remove another", RunReplace);
    which(command, options.get(), "The one to remove. " + by_number)->required();
    command->add_option("--with", options->with, "Number of the new one; not for a local cluster")
        ->type_name("REPLICA");
    command->add_option("--endpoint", options->endpoint, "Where the new one listens; not for a local cluster")
        ->type_name("HOST:PORT");
  }
  auto step = std::make_shared<ReplicaOptions>();
  CLI::App* command =
      AddCommand(shard, cli, "step-down", "Hand leadership of a shard to another replica", step, RunStepDown);
  command->add_option("shard", step->shard, "Name of the shard: s1")->required();
  command->add_option("--to", step->replica, "Which; else whoever is most up to date. " + by_number)
      ->type_name("REPLICA");
}

}  // namespace terrane::tools
