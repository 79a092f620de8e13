#include "tools/cli.h"

#include <errno.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "absl/strings/str_join.h"
#include "common/process.h"
#include "common/suggest.h"
#include "common/units.h"
#include "common/version.h"
#include "tools/cli_command.h"
#include "tools/interrupt.h"
#include "tools/json.h"

namespace terrane::tools {
namespace {

int ExitCodeOf(const absl::Status& status) {
  if (absl::IsCancelled(status) && Interrupted() != 0) return 128 + Interrupted();
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? kExitUsage : kExitFailure;
}

int Fail(const Cli& cli, const absl::Status& status) {
  const std::string_view message = MessageOf(status);
  if (cli.json) {
    JsonObject error;
    error.Add("error", message).Add("code", FromAbsl(absl::StatusCodeToString(status.code())));
    cli.err << error.Finish() << std::endl;
  } else {
    cli.err << "error: " << message << std::endl;
  }
  return ExitCodeOf(status);
}

// The command that was reached, and its words: "terrane collection".
CLI::App* Deepest(CLI::App* app, std::string* words) {
  *words = app->get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    *words += " " + app->get_name();
  }
  return app;
}

std::vector<std::string> NamesOfCommands(CLI::App* app) {
  std::vector<std::string> names;
  for (CLI::App* command : app->get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> NamesOfOptions(CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent()) {
    for (CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

// Help of a command would leave out the options of all commands.
void AddFooter(CLI::App* command) {
  command->footer("With every command: --dir DIR or --proxy HOST:PORT, --json, --deadline 10s. See terrane --help");
  for (CLI::App* below : command->get_subcommands([](CLI::App*) { return true; })) AddFooter(below);
}

// What is wrong with a command line that CLI11 refuses.
absl::Status ExplainParseError(CLI::App& app, const CLI::Error& error) {
  std::string words;
  CLI::App* command = Deepest(&app, &words);
  const std::vector<std::string> left = app.remaining(true);
  const auto code = static_cast<CLI::ExitCodes>(error.get_exit_code());
  if (!left.empty() && (code == CLI::ExitCodes::ExtrasError || code == CLI::ExitCodes::RequiredError)) {
    const std::string& word = left.front();
    if (word.starts_with("-")) {
      const std::string name = word.substr(0, word.find('='));
      const std::string mean = DidYouMean(name, NamesOfOptions(command));
      return InvalidArgument(words, " has no option ", name, mean.empty() ? ". See " + words + " --help" : mean);
    }
    if (!NamesOfCommands(command).empty()) {
      const std::string mean = DidYouMean(word, NamesOfCommands(command));
      return InvalidArgument("no command ", words, " ", word, mean.empty() ? ". See " + words + " --help" : mean);
    }
    return InvalidArgument("what is \"", word, "\" for? See ", words, " --help");
  }
  if (code == CLI::ExitCodes::RequiredError && !NamesOfCommands(command).empty()) {
    return InvalidArgument(words, " needs a command: ", absl::StrJoin(NamesOfCommands(command), ", "));
  }
  return InvalidArgument(error.what(), ". See ", words, " --help");
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalCluster>> Cli::OpenCluster() const {
  if (directory.empty()) return InvalidArgument("--dir is missing: the directory of a local cluster");
  return LocalCluster::Open(directory);
}

absl::StatusOr<std::unique_ptr<client::Client>> Cli::Connect() const {
  client::Options options;
  options.tls_ca_file = tls_ca;
  options.deadline = Deadline();
  const char* environment = getenv("TERRANE_PROXY");
  if (!proxy.empty()) {
    options.proxies = {proxy};
  } else if (!directory.empty()) {
    TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<LocalCluster> cluster, OpenCluster());
    bool running = false;
    for (const ProcessInfo& info : cluster->Processes()) {
      if (info.process.role == Role::kProxy) running = running || info.state != ProcessState::kStopped;
    }
    if (!running) {
      return FailedPrecondition("the cluster in ", directory,
                                " has no running proxy. Start it: terrane cluster start --dir ", directory);
    }
    options.proxies = cluster->ProxyEndpoints();
  } else if (environment != nullptr && *environment != '\0') {
    options.proxies = {environment};
  } else {
    return InvalidArgument(
        "which cluster? Give --proxy HOST:PORT, set TERRANE_PROXY, or give the --dir of a local cluster");
  }
  return client::Client::Connect(std::move(options));
}

CLI::Option* AddDuration(CLI::App* command, const std::string& name,
                         std::function<void(std::chrono::milliseconds)> take, const std::string& help) {
  CLI::callback_t parse = [take = std::move(take), name](const CLI::results_t& results) {
    absl::StatusOr<std::chrono::milliseconds> duration = ParseDuration(results.back());
    if (!duration.ok()) throw CLI::ValidationError(name, std::string(MessageOf(duration.status())));
    take(*duration);
    return true;
  };
  return command->add_option(name, std::move(parse), help)->type_name("DURATION");
}

int RunCli(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  Cli cli{out, err};
  cli.out_is_terminal = &out == &std::cout && isatty(STDOUT_FILENO) != 0;
  cli.err_is_terminal = &err == &std::cerr && isatty(STDERR_FILENO) != 0;

  CLI::App app("Runs and asks a Terrane cluster", "terrane");
  app.require_subcommand(1);
  app.fallthrough();  // options of every command may stand behind it
  app.set_version_flag("--version", VersionLine("terrane"), "Print version and commit");
  app.add_flag("--json", cli.json, "One JSON value (or one per line) with the fields of the proto files");
  app.add_option("--proxy", cli.proxy, "Proxy to ask [TERRANE_PROXY]")->type_name("HOST:PORT");
  app.add_option("--dir", cli.directory, "Directory of a local cluster")->type_name("DIR");
  app.add_option("--tls-ca", cli.tls_ca, "PEM file with whom to trust")->type_name("FILE");
  AddDuration(
      &app, "--deadline", [&cli](auto duration) { cli.deadline = duration; },
      "How long a call may take, or a step of a long one; 10s, a batch of an import 30s, a split 10m");

  AddClusterCommands(app, cli);
  AddStatusCommands(app, cli);
  AddCollectionCommands(app, cli);
  AddChunkCommands(app, cli);
  AddMigrationCommands(app, cli);
  AddShardCommands(app, cli);
  AddImportCommand(app, cli);
  AddExportCommand(app, cli);
  AddDocumentCommands(app, cli);
  AddRefusedCommands(app, cli);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) AddFooter(command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    out << version.what() << std::endl;
    return kExitOk;
  } catch (const CLI::Success&) {  // help
    std::string words;
    const std::vector<std::string> left = app.remaining(true);
    if (!left.empty() && !left.front().starts_with("-") && !NamesOfCommands(Deepest(&app, &words)).empty()) {
      return Fail(cli, ExplainParseError(app, CLI::ExtrasError(left)));
    }
    out << app.help() << std::flush;  // of the command that was reached
    return kExitOk;
  } catch (const CLI::Error& error) {
    return Fail(cli, ExplainParseError(app, error));
  }
  ForgetInterrupt();
  absl::StatusOr<int> exit = cli.action();
  out << std::flush;
  if (!exit.ok()) return Fail(cli, exit.status());
  if (!out && errno != EPIPE) {  // who reads no further has seen enough
    return Fail(cli, MakeStatus(absl::StatusCode::kUnknown, "cannot write the result: ", strerror(errno)));
  }
  return *exit;
}

}  // namespace terrane::tools
