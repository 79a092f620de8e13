// terrane collection ...
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/process.h"
#include "common/units.h"
#include "document/builder.h"
#include "document/extended_json.h"
#include "tools/cli_command.h"
#include "tools/json.h"
#include "tools/table.h"

namespace terrane::tools {
namespace {

struct CreateOptions {
  std::string name;
  std::string shard_key;
  int chunks = 0;
  std::vector<std::string> split_at;
};
struct NameOptions {
  std::string name;
};

absl::StatusOr<std::string> ParseShardKey(const std::string& text) {
  if (text.empty() || text == "hashed") return document::Builder().Append("_id", "hashed").Finish();
  return document::DocumentFromJson(text, document::JsonMode::kQuery);
}

absl::StatusOr<int> RunCreate(Cli& cli, const CreateOptions& options) {
  v1::CreateCollectionRequest request;
  request.set_name(options.name);
  request.set_chunks(options.chunks);
  absl::StatusOr<std::string> key = ParseShardKey(options.shard_key);
  if (!key.ok()) return Annotate(key.status(), "--shard-key");
  request.set_shard_key(*key);
  absl::StatusOr<document::ShardKeyPattern> pattern = document::ShardKeyPattern::Parse(*key);
  if (!pattern.ok()) return Annotate(pattern.status(), "--shard-key");
  for (const std::string& point : options.split_at) {
    TERRANE_ASSIGN_OR_RETURN(const std::string document, ParseQuery(point));
    absl::StatusOr<std::string> encoded = pattern->EncodeFromDocument(document);
    if (!encoded.ok()) return Annotate(encoded.status(), "--split-at");
    request.add_split_points(*std::move(encoded));
  }
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::CreateCollectionResponse response,
                           client->CreateCollection(std::move(request), cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(response));
    return kExitOk;
  }
  std::set<std::string> shards;
  for (const v1::Chunk& chunk : response.chunks()) shards.insert(chunk.shard());
  cli.Line(StrCat(options.name, ": ", Plural(response.chunks_size(), "chunk"), " on ",
                  Plural(static_cast<int64_t>(shards.size()), "shard"), ", shard key ", pattern->ToString()));
  return kExitOk;
}

absl::StatusOr<int> RunDrop(Cli& cli, const NameOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::Status status = client->DropCollection(options.name, cli.Call());
  if (!status.ok()) return Explain(*client, status, options.name);
  cli.Line(cli.json ? JsonObject().Add("dropped", options.name).Finish() : options.name + " is dropped");
  return kExitOk;
}

// What stands before figures that leave out the chunks of shards that do not answer.
std::string AtLeast(const v1::CollectionInfo& info) {
  return info.unknown_chunks() > 0 ? "at least " : "";
}
// "s2 does not answer"
std::string Silence(const v1::CollectionInfo& info) {
  if (info.silent_shards().empty()) return "";
  return StrCat(absl::StrJoin(info.silent_shards(), ", "),
                info.silent_shards_size() == 1 ? " does not answer" : " do not answer");
}

absl::StatusOr<int> RunList(Cli& cli, const NameOptions&) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::ListCollectionsResponse list, client->ListCollections(cli.Call()));
  if (cli.json) {
    cli.Line(ToJson(list));
    return kExitOk;
  }
  if (list.collections().empty()) cli.Line("no collections. Make one: terrane collection create shop.orders");
  std::vector<std::vector<std::string>> rows;
  for (const v1::CollectionInfo& info : list.collections()) {
    TERRANE_ASSIGN_OR_RETURN(const document::ShardKeyPattern pattern, PatternOf(info.collection()));
    std::vector<std::string> notes;
    if (info.collection().state() == v1::Collection::CREATING) {
      notes.push_back("its shards have not all confirmed their chunks yet");
    }
    if (info.unknown_chunks() > 0) notes.push_back(Silence(info));
    rows.push_back({info.collection().name(), AtLeast(info) + Plural(info.documents(), "document"),
                    AtLeast(info) + FormatBytes(info.bytes()), Plural(info.chunks(), "chunk"), pattern.ToString(),
                    absl::StrJoin(notes, "; ")});
  }
  for (const std::string& line : Table({{}, {.right = true}, {.right = true}, {.right = true}, {}, {}}, rows)) {
    cli.Line(line);
  }
  return kExitOk;
}

struct ShardShare {
  int64_t chunks = 0, documents = 0, bytes = 0;
  int64_t silent = 0;  // of `chunks`: not in the sizes
};

absl::StatusOr<int> RunStats(Cli& cli, const NameOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::CollectionInfo info, FindCollection(cli, *client, options.name));
  TERRANE_ASSIGN_OR_RETURN(const v1::ListChunksResponse chunks, client->ListChunks(options.name, cli.Call()));
  std::map<std::string, ShardShare> shares;
  for (const v1::ChunkInfo& chunk : chunks.chunks()) {
    ShardShare& share = shares[chunk.chunk().shard()];
    ++share.chunks;
    share.silent += !chunk.has_digest();
    share.documents += chunk.digest().documents().count();
    share.bytes += chunk.digest().documents().bytes();
  }
  if (cli.json) {
    std::vector<std::string> list;
    for (const auto& [shard, share] : shares) {
      list.push_back(JsonObject()
                         .Add("shard", shard)
                         .Add("chunks", share.chunks)
                         .Add("documents", share.documents)
                         .Add("bytes", share.bytes)
                         .Add("unknown_chunks", share.silent)
                         .Finish());
    }
    cli.Line(JsonObject().AddRaw("collection", ToJson(info)).AddRaw("shards", JsonArray(list)).Finish());
    return kExitOk;
  }
  TERRANE_ASSIGN_OR_RETURN(const document::ShardKeyPattern pattern, PatternOf(info.collection()));
  const int64_t average = info.documents() > 0 ? info.bytes() / info.documents() : 0;
  cli.Line(StrCat(options.name, ": ", AtLeast(info), Plural(info.documents(), "document"), ", ", AtLeast(info),
                  FormatBytes(info.bytes()), " (", FormatBytes(average), " each), ", Plural(info.chunks(), "chunk"),
                  ", shard key ", pattern.ToString(), info.unknown_chunks() > 0 ? "; " + Silence(info) : ""));
  for (const auto& [shard, share] : shares) {
    if (share.silent == share.chunks) {
      cli.Line(StrCat("  ", absl::StrFormat("%-6s", shard), " ", Plural(share.chunks, "chunk"),
                      ", size unknown: it does not answer"));
      continue;
    }
    cli.Line(StrCat("  ", absl::StrFormat("%-6s", shard), " ", Plural(share.chunks, "chunk"), ", ",
                    Plural(share.documents, "document"), ", ", FormatBytes(share.bytes),
                    share.silent > 0 ? StrCat("; no answer about ", share.silent, " of them") : ""));
  }
  return kExitOk;
}

CLI::App* AddNamed(CLI::App& group, Cli& cli, const std::string& name, const std::string& help,
                   absl::StatusOr<int> (*run)(Cli&, const NameOptions&)) {
  auto options = std::make_shared<NameOptions>();
  CLI::App* command = AddCommand(group, cli, name, help, options, run);
  command->add_option("collection", options->name, "database.collection")->required();
  return command;
}

}  // namespace

void AddCollectionCommands(CLI::App& app, Cli& cli) {
  CLI::App& group = *app.add_subcommand("collection", "Collections: create, drop, list, stats");
  group.require_subcommand(1);
  auto create = std::make_shared<CreateOptions>();
  CLI::App* command = AddCommand(group, cli, "create", "Create a collection", create, RunCreate);
  command->add_option("collection", create->name, "database.collection")->required();
  command->add_option("--shard-key", create->shard_key,
                      "Fields, e.g. '{\"customer\": 1}' or '{\"customer\": \"hashed\"}'; {_id: \"hashed\"}");
  AddNumber<int>(command, "--chunks", 1, &create->chunks, "How many to begin with; 4 per shard if hashed, else 1");
  command->add_option("--split-at", create->split_at, "Where a chunk begins: '{\"customer\": \"m\"}'; may be repeated")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  AddNamed(group, cli, "drop", "Drop a collection and all its documents", RunDrop);
  AddCommand(group, cli, "list", "All collections", std::make_shared<NameOptions>(), RunList);
  AddNamed(group, cli, "stats", "Sizes, by shard", RunStats);
}

}  // namespace terrane::tools
