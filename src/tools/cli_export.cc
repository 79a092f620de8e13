// terrane export
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_format.h"
#include "common/process.h"
#include "common/units.h"
#include "document/extended_json.h"
#include "tools/cli_command.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"

namespace terrane::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string collection, file, format, filter;
  bool relaxed = false;
};

absl::Status WriteAll(Cli& cli, const Arguments& arguments, client::Cursor& cursor, bool bson, int64_t total,
                      std::ostream& out, int64_t* documents, int64_t* bytes) {
  ProgressLine line(cli.err, cli.err_is_terminal, !cli.json);
  while (true) {
    if (Interrupted() != 0) return absl::CancelledError("interrupted; nothing was written");
    TERRANE_ASSIGN_OR_RETURN(const std::optional<std::string> document, cursor.Next());
    if (!document) return absl::OkStatus();
    if (bson) {
      out << *document;
    } else {
      out << (arguments.relaxed ? document::ToRelaxedJson(*document) : document::ToCanonicalJson(*document)) << "\n";
    }
    if (!out) return MakeStatus(absl::StatusCode::kUnknown, "cannot write ", arguments.file, ": ", strerror(errno));
    ++*documents;
    *bytes += static_cast<int64_t>(document->size());
    const double fraction = total > 0 ? std::min(1.0, static_cast<double>(*documents) / static_cast<double>(total)) : 0;
    if (*documents % 256 == 0) {
      line.Update(StrCat(arguments.collection, "  ", ProgressBar(fraction, 22),
                         absl::StrFormat("  %2.0f %%   ", 100 * fraction), FormatCount(*documents), " of ~",
                         FormatCount(total)));
    }
  }
}

absl::StatusOr<int> RunExport(Cli& cli, const Arguments& arguments) {
  if (!arguments.format.empty() && arguments.format != "bson" && arguments.format != "ndjson") {
    return InvalidArgument("--format: no format ", arguments.format, ". Formats: ndjson, bson");
  }
  const bool bson = arguments.format.empty() ? arguments.file.ends_with(".bson") : arguments.format == "bson";
  const bool standard_output = arguments.file == "-";
  client::FindOptions find;
  find.idle_deadline = cli.Deadline();
  TERRANE_ASSIGN_OR_RETURN(find.filter, ParseQuery(arguments.filter));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  TERRANE_ASSIGN_OR_RETURN(const v1::CollectionInfo info, FindCollection(cli, *client, arguments.collection));

  // Half a file never bears the name that was asked for.
  const std::string temporary = arguments.file + ".tmp";
  std::ofstream file;
  std::optional<InterruptWatch> watch;
  if (!standard_output) {
    watch.emplace();  // the temporary file is taken away
    file.open(temporary, std::ios::binary | std::ios::trunc);
    if (!file) return MakeStatus(absl::StatusCode::kUnknown, "cannot write ", temporary, ": ", strerror(errno));
  }
  const auto start = std::chrono::steady_clock::now();
  int64_t documents = 0, bytes = 0;
  const std::unique_ptr<client::Cursor> cursor = client->Find(arguments.collection, std::move(find));
  absl::Status status =
      WriteAll(cli, arguments, *cursor, bson, info.documents(), standard_output ? cli.out : file, &documents, &bytes);
  std::error_code error;
  if (!standard_output) {
    file.close();
    if (status.ok() && !file) status = MakeStatus(absl::StatusCode::kUnknown, "cannot write ", temporary);
    if (status.ok()) {
      fs::rename(temporary, arguments.file, error);
    } else {
      fs::remove(temporary, error);
    }
  }
  if (absl::IsCancelled(status)) return status;
  if (!status.ok()) return Annotate(Explain(*client, status, arguments.collection), "the export ended early");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::ostream& report = standard_output ? cli.err : cli.out;
  if (cli.json) {
    report << JsonObject().Add("documents", documents).Add("bytes", bytes).Add("seconds", seconds).Finish() << "\n";
  } else {
    report << "exported " << Plural(documents, "document") << " (" << FormatBytes(bytes) << ") in "
           << FormatMillis(1000 * seconds) << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddExportCommand(CLI::App& app, Cli& cli) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, cli, "export", "Write the documents of a collection to a file", arguments, RunExport);
  command->add_option("--collection", arguments->collection, "database.collection")->required();
  command->add_option("file", arguments->file, "- writes to standard output")->required();
  command->add_option("--format", arguments->format, "ndjson or bson; by the file's name (.bson), else ndjson");
  command->add_option("--filter", arguments->filter, "Only what matches");
  command->add_flag("--relaxed", arguments->relaxed,
                    "Relaxed extended JSON, nicer to read; canonical keeps types exactly");
}

}  // namespace terrane::tools
