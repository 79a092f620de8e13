// terrane status, terrane check.
#include "absl/strings/str_format.h"
#include "common/process.h"
#include "common/units.h"
#include "tools/cli_command.h"
#include "tools/json.h"
#include "tools/migration_text.h"
#include "tools/progress.h"

namespace terrane::tools {
namespace {

// Entries: replicas that are well differ by less while writes go on.
constexpr uint64_t kWorthTelling = 1'000;

struct NoOptions {};
struct CheckOptions {
  std::string collection;
  bool skip_documents = false;
};

std::string MetadataLine(const v1::StatusResponse& status) {
  int reachable = 0;
  std::string leader = "nobody leads";
  for (const v1::MetadataNode& node : status.metadata()) {
    reachable += node.reachable();
    if (node.leader()) leader = StrCat("leader m", node.replica_id(), " (term ", node.term(), ")");
  }
  return StrCat("  metadata   ", reachable, " of ", Plural(status.metadata_size(), "node"), ", ", leader);
}

// "3 replicas, 1 learner among them, the last one 2,345 entries behind". Who does not answer is among the problems.
std::string Replicas(const v1::ShardStatistics& statistics) {
  uint64_t leader_applied = 0;
  uint64_t behind = 0;
  int learners = 0;
  for (const v1::ReplicaStatus& replica : statistics.replicas()) {
    if (replica.leader()) leader_applied = replica.applied();
    learners += replica.learner() ? 1 : 0;
  }
  for (const v1::ReplicaStatus& replica : statistics.replicas()) {
    behind = std::max(behind, leader_applied - std::min(leader_applied, replica.applied()));
  }
  std::string text = Plural(statistics.replicas_size(), "replica");
  if (learners > 0) StrAppend(&text, ", ", Plural(learners, "learner"), " among them");
  if (behind >= kWorthTelling)
    StrAppend(&text, ", the last one ", FormatCount(static_cast<int64_t>(behind)), " entries behind");
  return text;
}

std::string ShardLine(const v1::Shard& shard) {
  const v1::ShardStatistics& s = shard.statistics();
  std::string line = StrCat("  shard ", absl::StrFormat("%-4s", shard.name()), " ");
  if (shard.leader_endpoint().empty()) return line + NoLeader(shard);
  StrAppend(&line, "leader at ", shard.leader_endpoint(), ", ");
  if (s.replicas_size() > 1) StrAppend(&line, Replicas(s), ", ");
  StrAppend(&line, Plural(s.chunks(), "chunk"), ", ", FormatBytes(s.document_bytes()));
  if (s.oplog_seconds() > 0) {
    StrAppend(&line, ", oplog kept ", FormatMillis(1000.0 * static_cast<double>(s.oplog_seconds())));
  }
  if (s.disk_total_bytes() > 0) {
    const double full = 1 - static_cast<double>(s.disk_free_bytes()) / static_cast<double>(s.disk_total_bytes());
    StrAppend(&line, ", disk ", absl::StrFormat("%.0f", 100 * full), " % full");
  }
  return line;
}

std::string Moves(int n) {
  if (n == 0) return "no move is running";
  return n == 1 ? "1 move is running" : StrCat(n, " moves are running");
}

absl::StatusOr<int> RunStatus(Cli& cli, const NoOptions&) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::StatusResponse status, client->Status(cli.Call()));
  const int exit = status.problems().empty() ? kExitOk : kExitFailure;
  if (cli.json) {
    cli.Line(ToJson(status));
    return exit;
  }
  cli.Line(StrCat(exit == kExitOk ? "healthy" : Plural(status.problems_size(), "problem"), ": ",
                  Plural(status.shards_size(), "shard"), ", ", Plural(status.chunks(), "chunk"), ", ",
                  Plural(status.documents(), "document"), ", ", FormatBytes(status.bytes()), "; ",
                  Moves(status.active_migrations_size())));
  for (const std::string& problem : status.problems()) cli.Line("  problem    " + problem);
  cli.Line(MetadataLine(status));
  for (const v1::Shard& shard : status.shards()) cli.Line(ShardLine(shard));
  for (const v1::Migration& m : status.active_migrations()) {
    cli.Line(StrCat("  move ", m.id(), "     ", m.source(), " -> ", m.target(), ", ", StageName(m.stage()),
                    ". See terrane migration show ", m.id()));
  }
  return exit;
}

absl::StatusOr<int> RunCheck(Cli& cli, const CheckOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  v1::CheckRequest request;
  request.set_collection(options.collection);
  request.set_skip_documents(options.skip_documents);
  ProgressLine progress(cli.err, cli.err_is_terminal, !cli.json);
  absl::StatusOr<int64_t> findings = client->Check(request, [&](const v1::CheckEvent& event) {
    if (cli.json) {
      cli.Line(ToJson(event));
    } else if (event.kind() == v1::CheckEvent::PROGRESS) {
      progress.Update(event.text());
    } else {
      cli.Line((event.kind() == v1::CheckEvent::FINDING ? "wrong: " : "") + event.text());
    }
    cli.out << std::flush;
  });
  if (!findings.ok()) return Explain(*client, findings.status(), options.collection);
  return *findings == 0 ? kExitOk : kExitFailure;
}

}  // namespace

void AddStatusCommands(CLI::App& app, Cli& cli) {
  AddCommand(app, cli, "status", "Health in sentences; exit code 1 if something is wrong",
             std::make_shared<NoOptions>(), RunStatus);
  auto check = std::make_shared<CheckOptions>();
  CLI::App* command =
      AddCommand(app, cli, "check", "Audit the map against ownership against data; exit code 1 if something is wrong",
                 check, RunCheck);
  command->add_option("collection", check->collection, "Only this one");
  command->add_flag("--skip-documents", check->skip_documents, "Compare records only; read no document");
}

}  // namespace terrane::tools
