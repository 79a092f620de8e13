#include "storage/layout.h"

#include <fcntl.h>
#include <rocksdb/env.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "common/status.h"
#include "storage/fault_env.h"
#include "storage/views.h"

namespace terrane::storage {
namespace {

constexpr const char* kFirst = "db-1";
constexpr const char* kCreating = "creating";

bool IsDatabaseName(const std::string& name) {
  return name.size() > 3 && name.starts_with("db-") &&
         std::all_of(name.begin() + 3, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

absl::StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound(path.string(), ": cannot be read");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

absl::StatusOr<bool> Layout::Exists() const {
  std::error_code error;
  if (!std::filesystem::exists(directory_, error)) return false;
  bool creating = std::filesystem::exists(directory_ / kCreating, error);
  if (std::filesystem::exists(directory_ / "current", error)) {
    return !(creating && !std::filesystem::exists(directory_ / kFirst, error));
  }
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    if (IsDatabaseName(entry.path().filename().string())) {
      return DataLoss((directory_ / "current").string(), ": is missing, while there is a database in ",
                      entry.path().string());
    }
  }
  if (error) return Internal("listing ", directory_.string(), ": ", error.message());
  return false;
}

absl::StatusOr<std::filesystem::path> Layout::BeginCreation() const {
  std::error_code error;
  std::filesystem::create_directories(segments(), error);
  if (error) return Internal("making ", segments().string(), ": ", error.message());
  std::filesystem::remove_all(directory_ / kCreating, error);
  std::filesystem::create_directory(directory_ / kCreating, error);
  if (error) return Internal("making ", (directory_ / kCreating).string(), ": ", error.message());
  return directory_ / kCreating;
}

absl::Status Layout::EndCreation() const {
  TERRANE_RETURN_IF_ERROR(SetCurrent(kFirst));
  rocksdb::Status status =
      EnvOf(faults_)->RenameFile((directory_ / kCreating).string(), (directory_ / kFirst).string());
  if (!status.ok()) return Internal("naming ", (directory_ / kFirst).string(), ": ", status.ToString());
  return SyncDirectory(faults_, directory_);
}

absl::StatusOr<std::filesystem::path> Layout::Current() const {
  TERRANE_ASSIGN_OR_RETURN(std::string name, ReadSmallFile(directory_ / "current"));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  if (!IsDatabaseName(name)) return DataLoss((directory_ / "current").string(), ": does not name a database");
  std::error_code error;
  if (!std::filesystem::exists(directory_ / name, error)) {
    return NotFound((directory_ / name).string(), ": is missing; ", (directory_ / "current").string(), " names it");
  }
  return directory_ / name;
}

absl::Status Layout::SetCurrent(const std::string& name) const {
  std::filesystem::path temporary = directory_ / "current.new";
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out << name << "\n";
    out.flush();
    if (!out) return Internal("writing ", temporary.string());
  }
  TERRANE_RETURN_IF_ERROR(SyncPath(temporary));
  std::error_code error;
  std::filesystem::rename(temporary, directory_ / "current", error);
  if (error) return Internal("renaming ", temporary.string(), ": ", error.message());
  return SyncDirectory(faults_, directory_);
}

absl::StatusOr<std::filesystem::path> Layout::Import(const std::filesystem::path& checkpoint) const {
  TERRANE_ASSIGN_OR_RETURN(std::filesystem::path current, Current());
  uint64_t number = strtoull(current.filename().c_str() + 3, nullptr, 10);
  std::filesystem::path next = directory_ / StrCat("db-", number + 1);
  std::error_code error;
  std::filesystem::remove_all(next, error);
  std::filesystem::create_directory(next, error);
  if (error) return Internal("making ", next.string(), ": ", error.message());
  for (const auto& entry : std::filesystem::directory_iterator(checkpoint, error)) {
    std::filesystem::path target = next / entry.path().filename();
    std::string name = target.filename().string();
    // Table files never change, so a link will do; the others are written on.
    if (name.ends_with(".sst")) std::filesystem::create_hard_link(entry.path(), target, error);
    if (!name.ends_with(".sst") || error) {
      error.clear();
      std::filesystem::copy_file(entry.path(), target, error);
    }
    if (error) return Internal("taking over ", entry.path().string(), ": ", error.message());
    TERRANE_RETURN_IF_ERROR(SyncPath(target));
  }
  if (error) return NotFound("checkpoint ", checkpoint.string(), ": ", error.message());
  TERRANE_RETURN_IF_ERROR(SyncDirectory(faults_, next));
  TERRANE_RETURN_IF_ERROR(SyncDirectory(faults_, directory_));
  return next;
}

void Layout::RemoveLeftovers() const {
  absl::StatusOr<std::filesystem::path> current = Current();
  if (!current.ok()) return;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, ignored)) {
    std::string name = entry.path().filename().string();
    if (entry.path() != *current && (IsDatabaseName(name) || name == kCreating)) {
      std::filesystem::remove_all(entry.path(), ignored);
    }
  }
  std::filesystem::create_directories(segments(), ignored);
  for (const auto& entry : std::filesystem::directory_iterator(segments(), ignored)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".ingest" || extension == kPartialSuffix) std::filesystem::remove(entry.path(), ignored);
  }
}

void Layout::RemoveSegment(const std::string& name) const {
  EnvOf(faults_)->DeleteFile((segments() / name).string()).PermitUncheckedError();
}

std::vector<std::string> Layout::SegmentNames() const {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(segments(), ignored)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

}  // namespace terrane::storage
