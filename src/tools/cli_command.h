// What the command groups of the CLI share; included by cli*.cc only (CLI11 is heavy).
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "client/client.h"
#include "common/status.h"
#include "document/shard_key.h"
#include "tools/local_cluster.h"
#include "tools/plural.h"

namespace terrane::tools {

// One command line, while it is parsed and run.
struct Cli {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;

  // Options of every command.
  bool json = false;
  std::string proxy;      // --proxy or TERRANE_PROXY
  std::string directory;  // --dir
  std::string tls_ca;
  std::optional<std::chrono::milliseconds> deadline;

  // Set by the chosen command; run after parsing. Returns the exit code; an error is printed and gives its own.
  std::function<absl::StatusOr<int>()> action;

  // A client for --proxy, TERRANE_PROXY, or the cluster of --dir (in this order of weight: --proxy, --dir,
  // TERRANE_PROXY).
  absl::StatusOr<std::unique_ptr<client::Client>> Connect() const;
  absl::StatusOr<std::unique_ptr<LocalCluster>> OpenCluster() const;  // --dir is needed
  // --deadline, else 10 s.
  std::chrono::milliseconds Deadline() const { return deadline.value_or(std::chrono::seconds(10)); }
  client::CallOptions Call() const { return {.deadline = Deadline()}; }

  // Prints a line of the result.
  void Line(std::string_view text) const { out << text << "\n"; }
};

// Each adds its group of commands. `app` and `cli` outlive the parse and the action.
void AddClusterCommands(CLI::App& app, Cli& cli);
void AddStatusCommands(CLI::App& app, Cli& cli);
void AddCollectionCommands(CLI::App& app, Cli& cli);
void AddChunkCommands(CLI::App& app, Cli& cli);
void AddMigrationCommands(CLI::App& app, Cli& cli);
void AddShardCommands(CLI::App& app, Cli& cli);
// `shard replica ...` and `shard step-down`; `shard` is the group of AddShardCommands.
void AddReplicaCommands(CLI::App& shard, Cli& cli);
void AddImportCommand(CLI::App& app, Cli& cli);
void AddExportCommand(CLI::App& app, Cli& cli);
void AddDocumentCommands(CLI::App& app, Cli& cli);
// Commands and options of later versions, refused by name.
void AddRefusedCommands(CLI::App& app, Cli& cli);

// A command `name` below `parent` that runs `run`.
template <typename Options>
CLI::App* AddCommand(CLI::App& parent, Cli& cli, const std::string& name, const std::string& help,
                     std::shared_ptr<Options> options, absl::StatusOr<int> (*run)(Cli&, const Options&)) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->callback([&cli, options, run] { cli.action = [&cli, options, run] { return run(cli, *options); }; });
  return command;
}

// An option that takes a duration ("2s").
CLI::Option* AddDuration(CLI::App* command, const std::string& name,
                         std::function<void(std::chrono::milliseconds)> take, const std::string& help);

// An option or positional that takes a whole number >= `least`.
template <typename Number>
CLI::Option* AddNumber(CLI::App* command, const std::string& name, Number least, Number* target,
                       const std::string& help) {
  CLI::callback_t take = [target, name, least](const CLI::results_t& results) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(results.back(), &value)) {
      throw CLI::ValidationError(name, StrCat("\"", results.back(), "\" is not a whole number"));
    }
    if (value < static_cast<int64_t>(least)) {
      throw CLI::ValidationError(
          name, value < 0 && least == 0 ? StrCat(value, " is negative") : StrCat("at least ", least, ", not ", value));
    }
    if (!std::in_range<Number>(value)) throw CLI::ValidationError(name, StrCat(value, " is too great"));
    *target = static_cast<Number>(value);
    return true;
  };
  return command->add_option(name, std::move(take), help)->type_name("NUMBER");
}

// BSON of extended JSON that a person wrote; the error names `what` if it is not the only JSON of the command line.
absl::StatusOr<std::string> ParseQuery(std::string_view json);

// "no collection shop.ordrs. Did you mean shop.orders?" in place of a status that says just the first half, and the
// shards there are in place of "no shard s9".
absl::Status Explain(client::Client& client, const absl::Status& status, std::string_view collection,
                     std::string_view shard = "");

// kNotFound, explained, if there is none.
absl::StatusOr<terrane::v1::CollectionInfo> FindCollection(Cli& cli, client::Client& client, std::string_view name);
absl::StatusOr<document::ShardKeyPattern> PatternOf(const terrane::v1::Collection& collection);

// "[3f80.., 7f..)" for hashed keys, "[{customer: "a"}, {customer: "m"})" for others.
std::string DescribeRange(const terrane::v1::KeyRange& range, const document::ShardKeyPattern& pattern);

// Since when a shard whose leader is not known has been silent; nullopt: it is not, or was never heard of.
std::optional<std::chrono::seconds> SilenceOf(const terrane::v1::Shard& shard);
// "no leader; last report 89 s ago"
std::string NoLeader(const terrane::v1::Shard& shard);

// Shows a migration until it has ended; used by `migration watch` and `chunk move --wait`. 0: done, 1: aborted.
absl::StatusOr<int> WatchMigration(Cli& cli, client::Client& client, uint64_t id);

}  // namespace terrane::tools
