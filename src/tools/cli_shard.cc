// terrane shard list|add
#include "absl/strings/str_format.h"
#include "common/process.h"
#include "common/units.h"
#include "tools/cli_command.h"
#include "tools/json.h"

namespace terrane::tools {
namespace {

struct NoOptions {};
struct AddOptions {
  std::optional<int> replicas;
};

absl::StatusOr<int> RunList(Cli& cli, const NoOptions&) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::ListShardsResponse list, client->ListShards(cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(list));
    return kExitOk;
  }
  for (const v1::Shard& shard : list.shards()) {
    const v1::ShardStatistics& s = shard.statistics();
    const std::string name = StrCat(absl::StrFormat("%-6s ", shard.name()), Plural(shard.replicas_size(), "replica"));
    const std::string holds = StrCat(Plural(s.chunks(), "chunk"), ", ", Plural(s.documents(), "document"), ", ",
                                     FormatBytes(s.document_bytes()));
    if (shard.leader_endpoint().empty()) {
      cli.Line(StrCat(name, ", ", NoLeader(shard), SilenceOf(shard) ? StrCat(": ", holds) : ""));
    } else {
      cli.Line(StrCat(name, ", leader ", shard.leader_endpoint(), ", ", holds,
                      absl::StrFormat(", %.0f writes/s, %.0f reads/s", s.writes_per_second(), s.reads_per_second())));
    }
  }
  return kExitOk;
}

absl::StatusOr<int> RunAdd(Cli& cli, const AddOptions& options) {
  if (cli.directory.empty()) {
    return InvalidArgument(
        "--dir is missing. A shard of a local cluster is added with --dir; elsewhere start terrane-shard on its "
        "machine, "
        "it registers by itself");
  }
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, cli.OpenCluster());
  TERRANE_ASSIGN_OR_RETURN(const std::string shard, cluster->AddShard(options.replicas));
  TERRANE_ASSIGN_OR_RETURN(const ProcessInfo info, cluster->Process(shard + "-a"));
  if (cli.json) {
    cli.Line(JsonObject()
                 .Add("shard", shard)
                 .Add("endpoint", info.process.endpoint)
                 .Add("directory", info.directory.native())
                 .Finish());
  } else {
    cli.Line(StrCat("shard ", shard, " is there: ", info.process.name, " at ", info.process.endpoint,
                    ". It is empty; give it something: terrane chunk move COLLECTION --key KEY --to ", shard));
  }
  return kExitOk;
}

}  // namespace

void AddShardCommands(CLI::App& app, Cli& cli) {
  CLI::App& group = *app.add_subcommand("shard", "Shards: list, add, step-down, replica");
  group.require_subcommand(1);
  AddCommand(group, cli, "list", "Shards with their leaders and what they hold", std::make_shared<NoOptions>(),
             RunList);
  auto add = std::make_shared<AddOptions>();
  AddCommand(group, cli, "add", "Start one more shard of the local cluster in --dir", add, RunAdd)
      ->add_option("--replicas", add->replicas, "1, 3 or 5; as many as the cluster was made with")
      ->type_name("NUMBER");
  AddReplicaCommands(group, cli);
}

}  // namespace terrane::tools
