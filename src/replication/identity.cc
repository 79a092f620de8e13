#include "replication/identity.h"

#include <random>

#include "common/start_number.h"
#include "common/status.h"
#include "replication/sealed_lines.h"

namespace terrane::replication {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kIdentityFormat = 1;
constexpr std::string_view kIdentityFile = "identity";
constexpr std::string_view kPeersFile = "peers";

uint64_t RandomIncarnation() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32 | device()) | 1;
}

}  // namespace

ReplicaDirectory::ReplicaDirectory(FileSystem* file_system, fs::path path, Identity identity)
    : file_system_(file_system), path_(std::move(path)), identity_(std::move(identity)) {}

absl::StatusOr<std::unique_ptr<ReplicaDirectory>> ReplicaDirectory::Open(FileSystem* file_system, const fs::path& path,
                                                                         const Identity& identity, bool join) {
  TERRANE_RETURN_IF_ERROR(file_system->CreateDirectories(path));
  std::unique_ptr<ReplicaDirectory> directory(new ReplicaDirectory(file_system, path, identity));
  TERRANE_ASSIGN_OR_RETURN(directory->lock_, file_system->Lock(path / "LOCK"));
  if (file_system->Exists(path / kIdentityFile)) {
    TERRANE_RETURN_IF_ERROR(directory->Load());
    TERRANE_RETURN_IF_ERROR(directory->LoadPeers());
  } else {
    if (file_system->Exists(directory->log())) {
      return FailedPrecondition("directory ", path.string(), " has a log/ but no identity file: it is not known whose ",
                                "it is; put the file back or use an empty directory");
    }
    directory->start_.incarnation = RandomIncarnation();
    directory->founder_ = !join;
  }
  directory->start_.start = NextStart(directory->start_.start, RandomIncarnation() >> 1);
  TERRANE_RETURN_IF_ERROR(directory->Save());
  return directory;
}

absl::Status ReplicaDirectory::Load() {
  const fs::path path = path_ / kIdentityFile;
  TERRANE_ASSIGN_OR_RETURN(std::string content, ReadFile(file_system_, path));
  TERRANE_ASSIGN_OR_RETURN(SealedLines lines, UnsealLines(content, path));
  std::map<std::string, std::string> fields(lines.begin(), lines.end());
  TERRANE_ASSIGN_OR_RETURN(uint64_t format, LineNumber(fields["format"], path));
  if (format > kIdentityFormat) {
    return FailedPrecondition("directory ", path_.string(), " was written in format ", format,
                              "; this program reads up to ", kIdentityFormat, ": start a newer version");
  }
  const std::string replica = std::to_string(identity_.replica.value());
  if (fields["cluster"] != identity_.cluster || fields["group"] != identity_.group || fields["replica"] != replica) {
    return FailedPrecondition("directory ", path_.string(), " belongs to replica ", fields["replica"], " of ",
                              fields["group"], " in cluster ", fields["cluster"], ", not to replica ", replica, " of ",
                              identity_.group, " in cluster ", identity_.cluster, ": the wrong directory or disk");
  }
  TERRANE_ASSIGN_OR_RETURN(start_.incarnation, LineNumber(fields["incarnation"], path));
  TERRANE_ASSIGN_OR_RETURN(start_.start, LineNumber(fields["start"], path));
  log_made_ = fields["log"] == "made";
  founder_ = fields["standing"] != "joiner";
  return absl::OkStatus();
}

absl::Status ReplicaDirectory::Save() {
  return WriteFileAtomically(
      file_system_, path_ / kIdentityFile,
      SealLines(StrCat("format ", kIdentityFormat, "\ncluster ", identity_.cluster, "\ngroup ", identity_.group,
                       "\nreplica ", identity_.replica.value(), "\nincarnation ", start_.incarnation, "\nstart ",
                       start_.start, "\nlog ", log_made_ ? "made" : "new", founder_ ? "" : "\nstanding joiner", "\n")));
}

absl::Status ReplicaDirectory::LogMade() {
  log_made_ = true;
  return Save();
}

absl::Status ReplicaDirectory::LoadPeers() {
  const fs::path path = path_ / kPeersFile;
  if (!file_system_->Exists(path)) return absl::OkStatus();
  TERRANE_ASSIGN_OR_RETURN(std::string content, ReadFile(file_system_, path));
  TERRANE_ASSIGN_OR_RETURN(SealedLines lines, UnsealLines(content, path));
  for (const auto& [name, value] : lines) {
    const size_t space = value.find(' ');
    if (space == std::string::npos) return DataLoss("file ", path.string(), " is damaged: \"", value, "\"");
    StartId start;
    TERRANE_ASSIGN_OR_RETURN(uint64_t peer, LineNumber(name, path));
    TERRANE_ASSIGN_OR_RETURN(start.incarnation, LineNumber(std::string_view(value).substr(0, space), path));
    TERRANE_ASSIGN_OR_RETURN(start.start, LineNumber(std::string_view(value).substr(space + 1), path));
    peers_[ReplicaId(peer)] = start;
  }
  return absl::OkStatus();
}

StartId ReplicaDirectory::Known(ReplicaId peer) const {
  auto it = peers_.find(peer);
  return it == peers_.end() ? StartId() : it->second;
}

absl::Status ReplicaDirectory::Hear(ReplicaId peer, const StartId& start, bool renewed) {
  const StartId known = Known(peer);
  if (known == start) return absl::OkStatus();
  if (!renewed && known.incarnation != 0 && known.incarnation != start.incarnation) {
    return FailedPrecondition("replica ", peer.value(), " comes with another directory than before (incarnation ",
                              start.incarnation, " instead of ", known.incarnation, ")");
  }
  if (known.incarnation == start.incarnation && IsOldCopy(start.start, known.start)) {
    return FailedPrecondition("replica ", peer.value(), " comes with an old copy of its directory (start ",
                              StartCount(start.start), ", start ", StartCount(known.start), " was heard of)");
  }
  peers_[peer] = start;
  std::string lines;
  for (const auto& [id, heard] : peers_) StrAppend(&lines, id.value(), " ", heard.incarnation, " ", heard.start, "\n");
  return WriteFileAtomically(file_system_, path_ / kPeersFile, SealLines(std::move(lines)));
}

}  // namespace terrane::replication
