// terrane chunk list|split|move
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "common/process.h"
#include "common/units.h"
#include "tools/cli_command.h"
#include "tools/json.h"
#include "tools/table.h"

namespace terrane::tools {
namespace {

struct ListOptions {
  std::string collection;
};
struct SplitOptions {
  std::string collection;
  std::string key;
  std::string at;
};

constexpr std::chrono::minutes kSplitDeadline(10);  // unless --deadline says otherwise: it reads the whole chunk
constexpr std::chrono::milliseconds kLeastPause(1);
constexpr std::chrono::milliseconds kGreatestPause(2000);  // what a switch may cost at most

struct MoveOptions {
  std::string collection;
  std::string key;
  std::string chunk;  // hex
  std::string target;
  bool wait = false;
  std::chrono::milliseconds max_pause{0};  // 0: not given
  std::string reversible;
};

// The encoded shard key of a document that a person wrote; `option` is named in errors.
absl::StatusOr<std::string> EncodeKey(const document::ShardKeyPattern& pattern, const std::string& json,
                                      std::string_view option) {
  absl::StatusOr<std::string> document = ParseQuery(json);
  if (!document.ok()) return Annotate(document.status(), option);
  absl::StatusOr<std::string> key = pattern.EncodeFromDocument(*document);
  if (!key.ok()) return Annotate(key.status(), StrCat(option, " (the shard key is ", pattern.ToString(), ")"));
  return key;
}

absl::StatusOr<int> RunList(Cli& cli, const ListOptions& options) {
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::StatusOr<v1::ListChunksResponse> list = client->ListChunks(options.collection, cli.Call());
  if (!list.ok()) return Explain(*client, list.status(), options.collection);
  if (cli.json) {
    cli.Line(ToJson(*list));
    return kExitOk;
  }
  TERRANE_ASSIGN_OR_RETURN(const v1::ListCollectionsResponse collections, client->ListCollections(cli.Call()));
  std::map<uint32_t, document::ShardKeyPattern> patterns;
  for (const v1::CollectionInfo& info : collections.collections()) {
    TERRANE_ASSIGN_OR_RETURN(patterns[info.collection().id()], PatternOf(info.collection()));
  }
  std::vector<std::vector<std::string>> rows;
  for (const v1::ChunkInfo& info : list->chunks()) {
    const v1::Chunk& chunk = info.chunk();
    const std::string size = info.has_digest() ? StrCat(Plural(info.digest().documents().count(), "document"), ", ",
                                                        FormatBytes(info.digest().documents().bytes()))
                                               : "size unknown: the shard does not answer";
    rows.push_back({info.collection(), DescribeRange(chunk.range(), patterns[chunk.collection_id()]), chunk.shard(),
                    StrCat("copy ", chunk.copy_id()), StrCat("token ", chunk.token()), size,
                    chunk.migration_id() != 0 ? StrCat("in move ", chunk.migration_id()) : ""});
  }
  for (const std::string& line : Table({{}, {}, {}, {}, {}, {}, {}}, rows)) cli.Line(line);
  if (list->chunks().empty()) cli.Line("no chunks");
  return kExitOk;
}

absl::StatusOr<int> RunSplit(Cli& cli, const SplitOptions& options) {
  if (options.key.empty() == options.at.empty()) {
    return InvalidArgument("give --at KEY to split there, or --key KEY to split the chunk with that key in its middle");
  }
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::CollectionInfo info, FindCollection(cli, *client, options.collection));
  TERRANE_ASSIGN_OR_RETURN(const document::ShardKeyPattern pattern, PatternOf(info.collection()));
  v1::SplitChunkRequest request;
  request.set_collection(options.collection);
  if (!options.at.empty()) {
    TERRANE_ASSIGN_OR_RETURN(*request.mutable_at(), EncodeKey(pattern, options.at, "--at"));
    request.set_key(request.at());
  } else {
    TERRANE_ASSIGN_OR_RETURN(*request.mutable_key(), EncodeKey(pattern, options.key, "--key"));
  }
  const std::chrono::milliseconds deadline = cli.deadline.value_or(kSplitDeadline);
  const absl::StatusOr<v1::SplitChunkResponse> response =
      client->SplitChunk(std::move(request), {.deadline = deadline});
  if (absl::IsDeadlineExceeded(response.status())) {
    return absl::DeadlineExceededError(StrCat(MessageOf(response.status()), ". It had ",
                                              FormatMillis(static_cast<double>(deadline.count())),
                                              "; a longer --deadline gives it more"));
  }
  TERRANE_RETURN_IF_ERROR(response.status());
  if (cli.json) {
    cli.Line(ToJson(*response));
    return kExitOk;
  }
  cli.Line("split into");
  for (const v1::Chunk& chunk : response->chunks()) {
    cli.Line(StrCat("  ", DescribeRange(chunk.range(), pattern), " on ", chunk.shard()));
  }
  return kExitOk;
}

// The key that names the chunk: of a document, or the hex of the chunk's least key as `chunk list --json` prints it.
absl::StatusOr<std::string> KeyOf(const MoveOptions& options, const document::ShardKeyPattern& pattern,
                                  bool chunk_given) {
  if (!chunk_given) return EncodeKey(pattern, options.key, "--key");
  for (const char c : options.chunk) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c)) || options.chunk.size() % 2 != 0) {
      return InvalidArgument("--chunk: \"", options.chunk,
                             "\" is not hex (see range.min in terrane chunk list --json)");
    }
  }
  return absl::HexStringToBytes(options.chunk);
}

absl::StatusOr<int> RunMove(Cli& cli, const MoveOptions& options, bool chunk_given) {
  if (!options.reversible.empty()) {
    return InvalidArgument(
        "--reversible is not in this version: a move cannot be taken back, but the chunk can be moved back");
  }
  if (options.key.empty() == !chunk_given)
    return InvalidArgument("give --key KEY or --chunk HEX: which chunk is to move");
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::CollectionInfo info, FindCollection(cli, *client, options.collection));
  TERRANE_ASSIGN_OR_RETURN(const document::ShardKeyPattern pattern, PatternOf(info.collection()));
  v1::MoveChunkRequest request;
  request.set_collection(options.collection);
  TERRANE_ASSIGN_OR_RETURN(*request.mutable_key(), KeyOf(options, pattern, chunk_given));
  request.set_target(options.target);
  request.set_max_pause_ms(options.max_pause.count());
  absl::StatusOr<v1::MoveChunkResponse> response = client->MoveChunk(std::move(request), cli.Call());
  if (!response.ok()) return Explain(*client, response.status(), options.collection, options.target);
  const v1::Migration& m = response->migration();
  if (cli.json && !options.wait) {
    cli.Line(ToJson(*response));
    return kExitOk;
  }
  if (!cli.json) {
    cli.Line(StrCat("move ", m.id(), "  ", options.collection, " ", DescribeRange(m.range(), pattern), "  ", m.source(),
                    " -> ", m.target()));
  }
  if (options.wait) return WatchMigration(cli, *client, m.id());
  cli.Line(StrCat("it runs by itself; see terrane migration watch ", m.id()));
  return kExitOk;
}

}  // namespace

void AddChunkCommands(CLI::App& app, Cli& cli) {
  CLI::App& group = *app.add_subcommand("chunk", "Chunks: list, split, move");
  group.require_subcommand(1);

  auto list = std::make_shared<ListOptions>();
  CLI::App* command = AddCommand(group, cli, "list", "Chunks with owner, copy, token and size", list, RunList);
  command->add_option("collection", list->collection, "Only of this one");

  auto split = std::make_shared<SplitOptions>();
  command = AddCommand(group, cli, "split", "Split a chunk in two that stay where they are", split, RunSplit);
  command->add_option("collection", split->collection, "database.collection")->required();
  command->add_option("--at", split->at, "Shard key of the second half's first document, e.g. '{\"customer\": \"m\"}'");
  command->add_option("--key", split->key, "Any shard key in the chunk: split in the middle of its documents");

  auto move = std::make_shared<MoveOptions>();
  command = group.add_subcommand("move", "Move a chunk to another shard while it is used");
  command->add_option("collection", move->collection, "database.collection")->required();
  command->add_option("--key", move->key, "Any shard key in the chunk, e.g. '{\"customer\": \"c-17\"}'");
  CLI::Option* chunk =
      command->add_option("--chunk", move->chunk, "Hex of the chunk's least key (range.min of chunk list --json)");
  command->add_option("--to", move->target, "Shard that is to own it")->required();
  command->add_flag("--wait", move->wait, "Show it until it has ended");
  AddDuration(
      command, "--max-pause",
      [move](std::chrono::milliseconds duration) {
        if (duration < kLeastPause || duration > kGreatestPause) {
          throw CLI::ValidationError(
              "--max-pause", StrCat("from ", kLeastPause.count(), "ms to ", kGreatestPause.count() / 1000, "s"));
        }
        move->max_pause = duration;
      },
      "Longest pause for writes that a switch may cause, up to 2s; 2s");
  command->add_option("--reversible", move->reversible)->group("");
  command->callback(
      [&cli, move, chunk] { cli.action = [&cli, move, chunk] { return RunMove(cli, *move, chunk->count() > 0); }; });
}

}  // namespace terrane::tools
