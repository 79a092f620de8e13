// From the directory to what the core starts with.
#include <algorithm>

#include "absl/strings/escaping.h"
#include "common/status.h"
#include "replication/replica.h"
#include "replication/sealed_lines.h"

namespace terrane::replication {
namespace {

namespace fs = std::filesystem;

fs::path MarkerPath(const ReplicaDirectory& directory) {
  return directory.checkpoints() / "install";
}

struct InstallMarker {
  LogPoint point;
  std::string configuration;
};

absl::StatusOr<std::optional<InstallMarker>> ReadInstallMarker(FileSystem* file_system,
                                                               const ReplicaDirectory& directory) {
  const fs::path path = MarkerPath(directory);
  if (!file_system->Exists(path)) return std::nullopt;
  TERRANE_ASSIGN_OR_RETURN(std::string content, ReadFile(file_system, path));
  TERRANE_ASSIGN_OR_RETURN(SealedLines lines, UnsealLines(content, path));
  InstallMarker marker;
  raft::Configuration configuration;
  for (const auto& [name, value] : lines) {
    if (name == "configuration") {
      std::optional<raft::Configuration> stated = raft::DecodeConfiguration(absl::HexStringToBytes(value));
      if (!stated) return DataLoss("file ", path.string(), " is damaged: it names no valid members");
      configuration = *std::move(stated);
      continue;
    }
    TERRANE_ASSIGN_OR_RETURN(uint64_t number, LineNumber(value, path));
    // As written before there was more to say of a member.
    if (name == "position") marker.point.position = Position(number);
    if (name == "term") marker.point.term = Term(number);
    if (name == "voter") configuration.voters.push_back(ReplicaId(number));
    if (name == "learner") configuration.learners.push_back(ReplicaId(number));
  }
  marker.configuration = raft::EncodeConfiguration(configuration);
  return marker;
}

raft::Configuration FoundingConfiguration(const ReplicatedLog::Options& options) {
  raft::Configuration configuration;
  for (const Member& member : options.members) configuration.voters.push_back(member.replica);
  std::sort(configuration.voters.begin(), configuration.voters.end());
  return configuration;
}

absl::Status MakeLog(FileSystem* file_system, const ReplicatedLog::Options& options, ReplicaDirectory* directory) {
  // Who joins gets everything from the group.
  const raft::RestoredState founded =
      directory->founder() ? raft::NewGroup(FoundingConfiguration(options)) : raft::RestoredState();
  std::vector<LogEntryView> entries;
  for (const raft::Entry& entry : founded.entries) {
    entries.push_back({entry.index, entry.term, static_cast<uint8_t>(entry.type), entry.data.view()});
  }
  LogFile::Options file_options;
  file_options.segment_bytes = options.segment_bytes;
  file_options.incarnation = directory->start().incarnation;
  auto file = LogFile::Create(file_system, directory->log(), file_options,
                              {founded.hard_state.term, founded.hard_state.vote}, entries);
  TERRANE_RETURN_IF_ERROR(file.status());
  return directory->LogMade();
}

absl::StatusOr<raft::Configuration> Decode(std::string_view bytes, const fs::path& log) {
  if (bytes.empty()) return raft::Configuration();
  std::optional<raft::Configuration> configuration = raft::DecodeConfiguration(bytes);
  if (!configuration) return DataLoss("log damaged: ", log.string(), ": a segment header names no valid members");
  return *std::move(configuration);
}

// Ends an installation that a crash interrupted: state machine and log both stand at the marker afterwards.
absl::Status FinishInstall(FileSystem* file_system, const ReplicaDirectory& directory, StateMachine* machine,
                           LogFile* file, RecoveredLog* log) {
  TERRANE_ASSIGN_OR_RETURN(std::optional<InstallMarker> marker, ReadInstallMarker(file_system, directory));
  if (!marker) return absl::OkStatus();
  if (machine->AppliedPosition() < marker->point.position) {
    TERRANE_RETURN_IF_ERROR(
        Annotate(machine->InstallCheckpoint(IncomingCheckpoint(directory)), "while installing a fetched checkpoint"));
  }
  if (log->base.position < marker->point.position) {
    TERRANE_RETURN_IF_ERROR(file->Reset(marker->point, marker->configuration));
    log->base = marker->point;
    log->base_configuration = marker->configuration;
    log->entries.clear();
  }
  return RemoveInstallMarker(file_system, directory);
}

absl::Status CheckApplied(Position applied, const RecoveredLog& log, const ReplicatedLog::Options& options) {
  if (applied >= log.base.position && applied <= log.last().position) return absl::OkStatus();
  return DataLoss("directory ", options.directory.string(), ": the state machine stands at position ", applied.value(),
                  ", but the log in ", (options.directory / "log").string(), " holds ", log.base.position.value() + 1,
                  " to ", log.last().position.value(),
                  ": they do not belong together; the data of this replica must come from a peer or a backup");
}

}  // namespace

fs::path IncomingCheckpoint(const ReplicaDirectory& directory) {
  return directory.checkpoints() / "incoming";
}

absl::Status WriteInstallMarker(FileSystem* file_system, const ReplicaDirectory& directory,
                                const raft::SnapshotReference& snapshot) {
  std::string lines = StrCat("position ", snapshot.index.value(), "\nterm ", snapshot.term.value(), "\n");
  StrAppend(&lines, "configuration ", absl::BytesToHexString(raft::EncodeConfiguration(snapshot.configuration)), "\n");
  return WriteFileAtomically(file_system, MarkerPath(directory), SealLines(std::move(lines)));
}

absl::Status RemoveInstallMarker(FileSystem* file_system, const ReplicaDirectory& directory) {
  TERRANE_RETURN_IF_ERROR(file_system->Remove(MarkerPath(directory)));
  TERRANE_RETURN_IF_ERROR(file_system->SyncDirectory(directory.checkpoints()));
  return file_system->RemoveAll(IncomingCheckpoint(directory));
}

absl::StatusOr<Recovery> Recover(const ReplicatedLog::Options& options, StateMachine* machine) {
  FileSystem* const file_system = options.file_system;
  Recovery recovery;
  TERRANE_ASSIGN_OR_RETURN(recovery.directory,
                           ReplicaDirectory::Open(file_system, options.directory, options.identity, options.join));
  const ReplicaDirectory& directory = *recovery.directory;
  if (!directory.log_made()) TERRANE_RETURN_IF_ERROR(MakeLog(file_system, options, recovery.directory.get()));
  TERRANE_RETURN_IF_ERROR(file_system->CreateDirectories(directory.checkpoints()));

  RecoveredLog log;
  LogFile::Options file_options;
  file_options.segment_bytes = options.segment_bytes;
  file_options.incarnation = directory.start().incarnation;
  TERRANE_ASSIGN_OR_RETURN(recovery.file, LogFile::Open(file_system, directory.log(), file_options, &log));
  TERRANE_RETURN_IF_ERROR(FinishInstall(file_system, directory, machine, recovery.file.get(), &log));
  TERRANE_ASSIGN_OR_RETURN(std::vector<std::string> leftovers, file_system->List(directory.checkpoints()));
  for (const std::string& name : leftovers)
    TERRANE_RETURN_IF_ERROR(file_system->RemoveAll(directory.checkpoints() / name));

  const Position applied = machine->AppliedPosition();
  TERRANE_RETURN_IF_ERROR(CheckApplied(applied, log, options));
  raft::RestoredState& state = recovery.state;
  state.hard_state = {log.hard_state.term, log.hard_state.vote};
  state.snapshot.index = log.base.position;
  state.snapshot.term = log.base.term;
  TERRANE_ASSIGN_OR_RETURN(state.snapshot.configuration, Decode(log.base_configuration, directory.log()));
  state.applied = applied;
  std::string configuration = log.base_configuration;
  for (LogEntry& entry : log.entries) {
    const auto type = static_cast<raft::EntryType>(entry.kind);
    if (type == raft::EntryType::kConfiguration) configuration = entry.data;
    state.entries.push_back({entry.term, entry.position, type, raft::Payload(std::move(entry.data))});
  }
  recovery.file->SetConfiguration(std::move(configuration));
  // From here on nothing that is in the log can be mistaken for a torn batch.
  TERRANE_RETURN_IF_ERROR(recovery.file->Append(LogBatch()));
  return recovery;
}

}  // namespace terrane::replication
