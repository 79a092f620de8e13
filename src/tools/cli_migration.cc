// terrane migration list|show|watch|abort
#include <map>
#include <thread>

#include "absl/strings/str_format.h"
#include "common/clock.h"
#include "common/process.h"
#include "common/units.h"
#include "tools/cli_command.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/migration_text.h"
#include "tools/progress.h"
#include "tools/table.h"

namespace terrane::tools {
namespace {

constexpr std::chrono::milliseconds kBetweenLooks{100};

const std::string kDropped = "(dropped collection)";

struct ListOptions {
  bool active = false;
};
struct IdOptions {
  uint64_t id = 0;
};

// The range for people; hex if the collection is gone.
std::string RangeOf(Cli& cli, client::Client& client, const v1::ShowMigrationResponse& response) {
  document::ShardKeyPattern pattern;
  absl::StatusOr<v1::CollectionInfo> info = FindCollection(cli, client, response.collection());
  if (info.ok()) {
    if (absl::StatusOr<document::ShardKeyPattern> parsed = PatternOf(info->collection()); parsed.ok())
      pattern = *parsed;
  }
  return DescribeRange(response.migration().range(), pattern);
}

absl::StatusOr<int> RunList(Cli& cli, const ListOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::ListMigrationsResponse list, client->ListMigrations(options.active, cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(list));
    return kExitOk;
  }
  if (list.migrations().empty()) cli.Line(options.active ? "no move is running" : "no moves");
  TERRANE_ASSIGN_OR_RETURN(const v1::ListCollectionsResponse collections, client->ListCollections(cli.Call()));
  std::map<uint32_t, const v1::Collection*> by_id;
  for (const v1::CollectionInfo& info : collections.collections()) by_id[info.collection().id()] = &info.collection();
  std::vector<std::vector<std::string>> rows;
  for (const v1::Migration& m : list.migrations()) {
    const auto collection = by_id.find(m.collection_id());
    document::ShardKeyPattern pattern;
    if (collection != by_id.end()) {
      TERRANE_ASSIGN_OR_RETURN(pattern, PatternOf(*collection->second));
    }
    const std::string pause = m.stage() == v1::Migration::DONE ? PauseText("writes held", m.figures().write_pause_ms(),
                                                                           m.figures().pauses_are_bounds())
                                                               : m.reason();
    rows.push_back({StrCat("move ", m.id()), collection != by_id.end() ? collection->second->name() : kDropped,
                    DescribeRange(m.range(), pattern), StrCat(m.source(), " -> ", m.target()), StageName(m.stage()),
                    FormatBytes(m.figures().bytes()), m.attempt() > 1 ? StrCat("attempt ", m.attempt()) : "", pause});
  }
  for (const std::string& line : Table({{}, {}, {}, {}, {}, {.right = true}, {}, {}}, rows)) cli.Line(line);
  return kExitOk;
}

absl::StatusOr<int> RunShow(Cli& cli, const IdOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::ShowMigrationResponse response, client->ShowMigration(options.id, cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(response));
    return kExitOk;
  }
  const int64_t now = Clock::System()->Wall().count();
  for (const std::string& line : ShowLines(response, RangeOf(cli, *client, response), now)) cli.Line(line);
  return kExitOk;
}

absl::StatusOr<int> RunWatch(Cli& cli, const IdOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  if (!cli.json) {
    TERRANE_ASSIGN_OR_RETURN(const v1::ShowMigrationResponse response, client->ShowMigration(options.id, cli.Call()));
    const v1::Migration& m = response.migration();
    cli.Line(StrCat("move ", m.id(), "  ", response.collection().empty() ? kDropped : response.collection(), " ",
                    RangeOf(cli, *client, response), "  ", m.source(), " -> ", m.target()));
    cli.out << std::flush;
  }
  return WatchMigration(cli, *client, options.id);
}

absl::StatusOr<int> RunAbort(Cli& cli, const IdOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::AbortMigrationResponse response, client->AbortMigration(options.id, cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(response));
  } else {
    const v1::Migration& m = response.migration();
    cli.Line(HasEnded(m) ? StrCat("move ", options.id, " has ended already: ", StageName(m.stage()))
                         : StrCat("move ", options.id, " is asked to end; it was ", StageName(m.stage()),
                                  ". See terrane migration watch ", options.id));
  }
  return kExitOk;
}

CLI::App* AddWithId(CLI::App& group, Cli& cli, const std::string& name, const std::string& help,
                    absl::StatusOr<int> (*run)(Cli&, const IdOptions&)) {
  auto options = std::make_shared<IdOptions>();
  CLI::App* command = AddCommand(group, cli, name, help, options, run);
  AddNumber<uint64_t>(command, "id", 1, &options->id, "Number of the move")->required();
  return command;
}

}  // namespace

absl::StatusOr<int> WatchMigration(Cli& cli, client::Client& client, uint64_t id) {
  std::string last_json;
  v1::Migration::Stage stage = v1::Migration::PLANNED;
  ProgressLine progress(cli.err, cli.err_is_terminal, !cli.json);
  const InterruptWatch watch;
  while (true) {
    absl::StatusOr<v1::ShowMigrationResponse> response = client.ShowMigration(id, cli.Call());
    if (!response.ok()) return response.status();
    const v1::Migration& m = response->migration();
    if (cli.json) {
      const std::string json = ToJson(*response);
      if (json != last_json) cli.out << json << std::endl;
      last_json = json;
    } else if (!HasEnded(m)) {
      // Each stage leaves a line behind, also where nobody watches a terminal.
      if (m.stage() != stage) {
        progress.Keep(ProgressText(*response));
      } else {
        progress.Update(ProgressText(*response));
      }
    }
    stage = m.stage();
    if (HasEnded(m)) {
      if (!cli.json) {
        for (const std::string& line : ResultLines(*response)) cli.Line(line);
      }
      return m.stage() == v1::Migration::DONE ? kExitOk : kExitFailure;
    }
    if (const int signal = Interrupted(); signal != 0) {
      progress.Keep(ProgressText(*response));
      if (!cli.json) cli.err << "the move goes on by itself; see terrane migration watch " << id << std::endl;
      return 128 + signal;
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

void AddMigrationCommands(CLI::App& app, Cli& cli) {
  CLI::App& group = *app.add_subcommand("migration", "Moves: list, show, watch, abort");
  group.require_subcommand(1);
  auto list = std::make_shared<ListOptions>();
  AddCommand(group, cli, "list", "All moves that are remembered", list, RunList)
      ->add_flag("--active", list->active, "Only those that have not ended");
  AddWithId(group, cli, "show", "What a move does, why it waits, what was measured", RunShow);
  AddWithId(group, cli, "watch", "Show it until it has ended; exit code 1 if it was aborted", RunWatch);
  AddWithId(group, cli, "abort", "End a move that is not committed yet; the source goes on as owner", RunAbort);
}

}  // namespace terrane::tools
