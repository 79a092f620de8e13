// terrane find|insert|update|replace|delete|count: quick access for people.
#include <algorithm>
#include <iostream>
#include <iterator>

#include "common/process.h"
#include "common/units.h"
#include "document/extended_json.h"
#include "tools/cli_command.h"
#include "tools/json.h"

namespace terrane::tools {
namespace {

struct FindArguments {
  std::string collection, filter, projection;
  int64_t limit = 0, skip = 0;
  bool ordered = false, canonical = false;
  std::string read;
  std::chrono::milliseconds staleness{0};
};
struct WriteArguments {
  std::string collection, filter, document, durable;
  bool multi = false, upsert = false;
};

absl::StatusOr<std::string> Query(std::string_view json, std::string_view name) {
  absl::StatusOr<std::string> bson = ParseQuery(json);
  return bson.ok() ? bson : Annotate(bson.status(), name);
}

absl::StatusOr<v1::ReadOptions> ReadOf(const FindArguments& arguments) {
  v1::ReadOptions read;
  if (arguments.read == "local") {
    read.set_mode(v1::LOCAL);
  } else if (arguments.read == "follower") {
    read.set_mode(v1::FOLLOWER);
  } else if (!arguments.read.empty() && arguments.read != "linearizable") {
    return InvalidArgument("--read: \"", arguments.read, "\" is none of linearizable, local, follower");
  }
  if (arguments.staleness.count() > 0 && read.mode() != v1::FOLLOWER) {
    return InvalidArgument("--max-staleness is for --read follower only");
  }
  read.set_max_staleness_ms(arguments.staleness.count());
  return read;
}

absl::StatusOr<client::CallOptions> CallOf(const Cli& cli, const WriteArguments& arguments) {
  client::CallOptions call = cli.Call();
  if (arguments.durable == "leader") {
    call.durable = v1::LEADER;
  } else if (!arguments.durable.empty() && arguments.durable != "majority") {
    return InvalidArgument("--durable: \"", arguments.durable, "\" is none of majority, leader");
  }
  return call;
}

absl::StatusOr<int> RunFind(Cli& cli, const FindArguments& arguments) {
  client::FindOptions options;
  TERRANE_ASSIGN_OR_RETURN(options.filter, ParseQuery(arguments.filter));
  TERRANE_ASSIGN_OR_RETURN(options.projection, Query(arguments.projection, "--projection"));
  options.limit = arguments.limit;
  options.skip = arguments.skip;
  options.ordered = arguments.ordered;
  TERRANE_ASSIGN_OR_RETURN(options.read, ReadOf(arguments));
  options.idle_deadline = cli.Deadline();
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  std::unique_ptr<client::Cursor> cursor = client->Find(arguments.collection, std::move(options));
  while (cli.out) {
    absl::StatusOr<std::optional<std::string>> document = cursor->Next();
    if (!document.ok()) return Explain(*client, document.status(), arguments.collection);
    if (!*document) break;
    cli.Line(arguments.canonical ? document::ToCanonicalJson(**document) : document::ToRelaxedJson(**document));
  }
  return kExitOk;
}

absl::StatusOr<int> RunCount(Cli& cli, const FindArguments& arguments) {
  TERRANE_ASSIGN_OR_RETURN(const std::string filter, ParseQuery(arguments.filter));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::StatusOr<int64_t> count = client->Count(arguments.collection, filter, cli.Call());
  if (!count.ok()) return Explain(*client, count.status(), arguments.collection);
  cli.Line(cli.json ? JsonObject().Add("count", *count).Finish() : FormatCount(*count));
  return kExitOk;
}

absl::StatusOr<int> RunInsert(Cli& cli, const WriteArguments& arguments) {
  std::string text = arguments.document;
  if (text == "-") text.assign(std::istreambuf_iterator<char>(std::cin), {});
  TERRANE_ASSIGN_OR_RETURN(const std::vector<std::string> documents, document::DocumentsFromJson(text));
  if (documents.empty()) return InvalidArgument("no document to insert");
  TERRANE_ASSIGN_OR_RETURN(const client::CallOptions call, CallOf(cli, arguments));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::StatusOr<client::InsertResult> result = client->Insert(arguments.collection, documents, call);
  if (!result.ok()) return Explain(*client, result.status(), arguments.collection);
  std::vector<std::string> ids, errors;
  for (const std::string& id : result->ids) ids.push_back(document::ToRelaxedJson(id));
  for (const v1::WriteError& error : result->errors) errors.push_back(ToJson(error));
  if (cli.json) {
    cli.Line(JsonObject()
                 .Add("inserted", result->inserted)
                 .AddRaw("errors", JsonArray(errors))
                 .AddRaw("ids", JsonArray(ids))
                 .Finish());
  } else {
    std::string line = "inserted " + Plural(result->inserted, "document");
    if (ids.size() == 1) line += " " + ids[0];
    if (result->inserted > 0 || errors.empty()) cli.Line(line);
    for (const v1::WriteError& error : result->errors) {
      cli.err << "error: " << (documents.size() > 1 ? StrCat("document ", error.index() + 1, ": ") : "")
              << error.message() << std::endl;
    }
  }
  if (errors.empty()) return kExitOk;
  const bool asked_wrongly = std::all_of(result->errors.begin(), result->errors.end(), [](const v1::WriteError& error) {
    return error.code() == static_cast<int>(absl::StatusCode::kInvalidArgument);
  });
  return asked_wrongly ? kExitUsage : kExitFailure;
}

// Of an update or a replacement.
int PrintUpdated(const Cli& cli, const client::UpdateResult& result) {
  if (cli.json) {
    JsonObject object;
    object.Add("matched", result.matched).Add("modified", result.modified);
    if (!result.upserted_id.empty()) object.AddRaw("upserted_id", document::ToRelaxedJson(result.upserted_id));
    cli.Line(object.Finish());
  } else if (!result.upserted_id.empty()) {
    cli.Line("inserted " + document::ToRelaxedJson(result.upserted_id));
  } else {
    cli.Line(StrCat("matched ", FormatCount(result.matched), ", modified ", FormatCount(result.modified)));
  }
  return kExitOk;
}

absl::StatusOr<int> RunReplace(Cli& cli, const WriteArguments& arguments) {
  TERRANE_ASSIGN_OR_RETURN(const std::string filter, Query(arguments.filter, "filter"));
  absl::StatusOr<std::string> replacement = document::DocumentFromJson(arguments.document);
  if (!replacement.ok()) return Annotate(replacement.status(), "document");
  TERRANE_ASSIGN_OR_RETURN(const client::CallOptions call, CallOf(cli, arguments));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::StatusOr<client::UpdateResult> result =
      client->Replace(arguments.collection, filter, *replacement, arguments.upsert, call);
  if (!result.ok()) return Explain(*client, result.status(), arguments.collection);
  return PrintUpdated(cli, *result);
}

absl::StatusOr<int> RunUpdate(Cli& cli, const WriteArguments& arguments) {
  TERRANE_ASSIGN_OR_RETURN(const std::string filter, Query(arguments.filter, "filter"));
  TERRANE_ASSIGN_OR_RETURN(const std::string update, Query(arguments.document, "update"));
  client::Client::UpdateOptions options;
  TERRANE_ASSIGN_OR_RETURN(options.call, CallOf(cli, arguments));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  options.multi = arguments.multi;
  options.upsert = arguments.upsert;
  absl::StatusOr<client::UpdateResult> result = client->Update(arguments.collection, filter, update, options);
  if (!result.ok()) return Explain(*client, result.status(), arguments.collection);
  return PrintUpdated(cli, *result);
}

absl::StatusOr<int> RunDelete(Cli& cli, const WriteArguments& arguments) {
  TERRANE_ASSIGN_OR_RETURN(const std::string filter, ParseQuery(arguments.filter));
  TERRANE_ASSIGN_OR_RETURN(const client::CallOptions call, CallOf(cli, arguments));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  absl::StatusOr<int64_t> deleted = client->Delete(arguments.collection, filter, arguments.multi, call);
  if (!deleted.ok()) return Explain(*client, deleted.status(), arguments.collection);
  cli.Line(cli.json ? JsonObject().Add("deleted", *deleted).Finish() : "deleted " + Plural(*deleted, "document"));
  return kExitOk;
}

}  // namespace

void AddDocumentCommands(CLI::App& app, Cli& cli) {
  auto find = std::make_shared<FindArguments>();
  CLI::App* command = AddCommand(app, cli, "find", "Print documents, one a line, as extended JSON", find, RunFind);
  command->add_option("collection", find->collection, "database.collection")->required();
  command->add_option("filter", find->filter, "E.g. '{\"customer\": \"c-17\"}'; everything");
  command->add_option("--projection", find->projection, "E.g. '{\"customer\": 1}'");
  AddNumber<int64_t>(command, "--limit", 0, &find->limit, "At most so many; 0: all");
  AddNumber<int64_t>(command, "--skip", 0, &find->skip, "Leave out the first ones");
  command->add_flag("--ordered", find->ordered, "In the order of the shard key over all chunks");
  command->add_option("--read", find->read,
                      "linearizable, local (whoever believes to lead), follower (any); linearizable");
  AddDuration(
      command, "--max-staleness", [find](auto duration) { find->staleness = duration; },
      "With --read follower: what is older is refused; 10s");
  command->add_flag("--canonical", find->canonical, "Canonical extended JSON: types are kept exactly");

  command = AddCommand(app, cli, "count", "Count documents", find, RunCount);
  command->add_option("collection", find->collection, "database.collection")->required();
  command->add_option("filter", find->filter, "Everything");

  auto write = std::make_shared<WriteArguments>();
  const auto add_durable = [write](CLI::App* of) {
    of->add_option(
        "--durable", write->durable,
        "When it counts as written: majority (of the replicas has it on disk), leader (may be lost with it); "
        "majority");
  };
  command = AddCommand(app, cli, "insert", "Insert documents", write, RunInsert);
  command->add_option("collection", write->collection, "database.collection")->required();
  command->add_option("documents", write->document, "One, an array, or several: '{..} {..}'; - reads standard input")
      ->required();
  add_durable(command);

  command = AddCommand(app, cli, "update", "Apply update operators to the first match", write, RunUpdate);
  command->add_option("collection", write->collection, "database.collection")->required();
  command->add_option("filter", write->filter, "Which")->required();
  command->add_option("update", write->document, "E.g. '{\"$inc\": {\"n\": 1}}'")->required();
  command->add_flag("--multi", write->multi, "To all matches");
  command->add_flag("--upsert", write->upsert, "Insert if nothing matches");
  add_durable(command);

  command = AddCommand(app, cli, "replace", "Replace the first match by a whole document", write, RunReplace);
  command->add_option("collection", write->collection, "database.collection")->required();
  command->add_option("filter", write->filter, "Which")->required();
  command->add_option("document", write->document, "_id and shard key stay")->required();
  command->add_flag("--upsert", write->upsert, "Insert if nothing matches");
  add_durable(command);

  command = AddCommand(app, cli, "delete", "Delete the first match", write, RunDelete);
  command->add_option("collection", write->collection, "database.collection")->required();
  command->add_option("filter", write->filter, "Which")->required();
  command->add_flag("--multi", write->multi, "All matches");
  add_durable(command);
}

}  // namespace terrane::tools
