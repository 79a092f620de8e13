// Commands that the contract names and that come in a later version: refused by name, so that nobody takes them for
// misspelt.
#include "common/version.h"
#include "tools/cli_command.h"

namespace terrane::tools {
namespace {

void Refuse(CLI::App& parent, Cli& cli, const std::string& name, const std::string& advice) {
  CLI::App* command = parent.add_subcommand(name)->group("");  // not in --help
  command->allow_extras();
  command->prefix_command();
  command->fallthrough(false);
  std::string words = name;
  for (CLI::App* app = &parent; app != nullptr; app = app->get_parent()) words = app->get_name() + " " + words;
  command->callback([&cli, words, advice] {
    cli.action = [words, advice]() -> absl::StatusOr<int> {
      return InvalidArgument(words, " is not in this version (", VersionNumber(), ")",
                             advice.empty() ? "" : ". " + advice);
    };
  });
}

}  // namespace

void AddRefusedCommands(CLI::App& app, Cli& cli) {
  Refuse(app, cli, "top", "terrane status tells the state");
  Refuse(app, cli, "index", "Filters without an index read the collection");
  Refuse(app, cli, "balancer", "Move chunks by hand: terrane chunk move");
  Refuse(*app.get_subcommand("chunk"), cli, "merge", "");
  Refuse(*app.get_subcommand("shard"), cli, "drain", "Move its chunks by hand: terrane chunk move");
  Refuse(*app.get_subcommand("shard"), cli, "remove", "");
  CLI::App& migration = *app.get_subcommand("migration");
  Refuse(migration, cli, "pause", "A move can be aborted and started again");
  Refuse(migration, cli, "resume", "");
  Refuse(migration, cli, "rollback", "Move the chunk back: terrane chunk move");
  Refuse(migration, cli, "set", "");
}

}  // namespace terrane::tools
