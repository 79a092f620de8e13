// terrane import
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_format.h"
#include "common/process.h"
#include "common/units.h"
#include "tools/cli_command.h"
#include "tools/importer.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/progress.h"

namespace terrane::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string collection, file, format, rejected;
  int workers = 4;
};

absl::StatusOr<FileFormat> FormatOf(const Arguments& arguments) {
  if (arguments.format == "bson") return FileFormat::kBson;
  if (arguments.format == "ndjson") return FileFormat::kNdjson;
  if (!arguments.format.empty()) {
    return InvalidArgument("--format: no format ", arguments.format, ". Formats: ndjson, bson");
  }
  return arguments.file.ends_with(".bson") ? FileFormat::kBson : FileFormat::kNdjson;
}

// "shop.orders  [####----]  64 %   640,112 of ~1,000,000   41,300/s   ETA 9 s"; without a size no bar.
std::string ProgressText(const std::string& collection, const ImportProgress& p, int64_t size, double seconds) {
  const int64_t documents = p.documents + p.refused;
  const double rate = seconds > 0 ? static_cast<double>(p.documents) / seconds : 0;
  std::string text = collection + "  ";
  if (size > 0 && p.bytes_read > 0) {
    const double fraction = std::min(1.0, static_cast<double>(p.bytes_read) / static_cast<double>(size));
    // What is read but not yet in is on its way: a few batches at most.
    StrAppend(
        &text, ProgressBar(fraction, 22), absl::StrFormat("  %2.0f %%   ", 100 * fraction), FormatCount(documents),
        " of ~", FormatCount(static_cast<int64_t>(static_cast<double>(documents) / fraction)), "   ",
        FormatCount(static_cast<int64_t>(rate)), "/s   ETA ", FormatMillis(1000 * seconds * (1 - fraction) / fraction));
  } else {
    StrAppend(&text, FormatCount(documents), "   ", FormatCount(static_cast<int64_t>(rate)), "/s");
  }
  return text;
}

// Where refused documents are put. One thread at a time, but for whether it failed.
class RejectedFile {
 public:
  explicit RejectedFile(std::string path) : path_(std::move(path)) {}

  void Add(const RefusedDocument& document) {
    if (failed_) return;
    if (!out_.is_open()) out_.open(path_, std::ios::trunc);
    if (out_) {
      out_ << JsonObject().Add("line", document.number).Add("error", document.why).Add("text", document.text).Finish()
           << "\n";
    }
    NoteFailure();
  }
  // What was added is in the file, or why it is not.
  absl::Status Finish() {
    if (out_.is_open() && !failed_) {
      out_.flush();
      NoteFailure();
    }
    return status_;
  }
  bool failed() const { return failed_; }
  bool exists() const { return out_.is_open(); }
  const std::string& path() const { return path_; }

 private:
  void NoteFailure() {
    if (out_ || failed_) return;
    status_ =
        MakeStatus(absl::StatusCode::kUnknown, "cannot write the refused documents to ", path_, ": ", strerror(errno));
    failed_ = true;
  }

  const std::string path_;
  std::ofstream out_;
  absl::Status status_;
  std::atomic<bool> failed_ = false;
};

absl::StatusOr<int> RunImport(Cli& cli, const Arguments& arguments) {
  TERRANE_ASSIGN_OR_RETURN(const FileFormat format, FormatOf(arguments));
  std::ifstream file;
  const bool standard_input = arguments.file == "-";
  if (!standard_input) {
    file.open(arguments.file, std::ios::binary);
    if (!file) return NotFound("cannot open ", arguments.file, ": ", strerror(errno));
    if (fs::is_directory(arguments.file)) return InvalidArgument(arguments.file, " is a directory");
  }
  std::error_code error;
  const int64_t size = standard_input ? 0 : static_cast<int64_t>(fs::file_size(arguments.file, error));
  TERRANE_ASSIGN_OR_RETURN(std::unique_ptr<client::Client> client, cli.Connect());
  // A misspelt collection is found before the first document is sent.
  TERRANE_RETURN_IF_ERROR(FindCollection(cli, *client, arguments.collection).status());

  ImportOptions options;
  options.collection = arguments.collection;
  options.workers = std::min(arguments.workers, 64);
  if (cli.deadline) options.deadline = *cli.deadline;
  std::optional<InterruptWatch> watch;
  if (!standard_input) watch.emplace();  // whoever waits for a terminal's next line would not notice
  RejectedFile rejected(!arguments.rejected.empty() ? arguments.rejected
                        : standard_input            ? "stdin.rejected"
                                                    : arguments.file + ".rejected");
  // A refused document that is kept nowhere would be lost: then nothing more is read.
  options.interrupted = [&] { return (watch && Interrupted() != 0) || rejected.failed(); };
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  ImportProgress done;
  absl::Status status;
  {
    ProgressLine line(cli.err, cli.err_is_terminal, !cli.json);
    const std::unique_ptr<DocumentReader> reader = DocumentReader::Make(format, standard_input ? std::cin : file);
    status = Import(
        *client, *reader, options,
        [&](const ImportProgress& p) { line.Update(ProgressText(arguments.collection, p, size, seconds())); },
        [&](const RefusedDocument& document) { rejected.Add(document); }, &done);
  }
  const absl::Status kept = rejected.Finish();
  if (!kept.ok() && (status.ok() || absl::IsCancelled(status))) status = kept;
  if (cli.json) {
    JsonObject object;
    object.Add("documents", done.documents).Add("bytes", done.bytes_in).Add("refused", done.refused);
    object.Add("seconds", seconds());
    if (rejected.exists()) object.Add("rejected_file", rejected.path());
    cli.Line(object.Finish());
  } else {
    const std::string_view what = format == FileFormat::kBson ? "document" : "line";
    cli.Line(StrCat("imported ", Plural(done.documents, "document"), " (", FormatBytes(done.bytes_in), ") in ",
                    FormatMillis(1000 * seconds()),
                    done.refused == 0 ? "" : StrCat("; ", Plural(done.refused, what), " refused"),
                    rejected.exists() ? StrCat(", see ", rejected.path()) : ""));
  }
  if (absl::IsCancelled(status)) return absl::CancelledError("interrupted; what is in stays in");
  if (!status.ok()) return Annotate(Explain(*client, status, arguments.collection), "the import ended early");
  return done.refused == 0 ? kExitOk : kExitFailure;
}

}  // namespace

void AddImportCommand(CLI::App& app, Cli& cli) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(app, cli, "import", "Insert the documents of a file; exit code 1 if some were refused",
                                 arguments, RunImport);
  command->add_option("--collection", arguments->collection, "database.collection")->required();
  command->add_option("file", arguments->file, "NDJSON (extended JSON) or BSON; - reads standard input")->required();
  command->add_option("--format", arguments->format, "ndjson or bson; by the file's name (.bson), else ndjson");
  command->add_option("--rejected", arguments->rejected, "Where refused lines go; FILE.rejected");
  AddNumber<int>(command, "--workers", 1, &arguments->workers, "Batches at a time, at most 64; 4");
}

}  // namespace terrane::tools
