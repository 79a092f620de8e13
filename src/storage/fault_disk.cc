#include "storage/fault_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "common/status.h"

namespace terrane::storage {
namespace {

constexpr uint64_t kSector = 512;

// 0 if it is not there.
uint64_t SizeOf(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

std::string DirectoryOf(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

}  // namespace

FaultDisk::Operation FaultDisk::Begin() {
  if (hook) hook();
  Operation operation;
  operation.lock_ = std::shared_lock(power_);
  operation.full_ = fail;
  return operation;
}

void FaultDisk::Created(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (files_.insert_or_assign(path, 0).second) changes_.push_back({DirectoryOf(path), "", path, "", 0});
}

void FaultDisk::Opened(const std::string& path, uint64_t size) {
  std::lock_guard lock(mutex_);
  files_.emplace(path, size);
}

void FaultDisk::Synced(const std::string& path, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (!cut_) files_[path] = bytes;
}

void FaultDisk::DirectorySynced(const std::string& directory) {
  std::lock_guard lock(mutex_);
  if (cut_) return;
  std::erase_if(changes_, [&](const NameChange& change) {
    if (change.directory != directory) return false;
    if (!change.grave.empty()) unlink(change.grave.c_str());
    return true;
  });
}

void FaultDisk::Linked(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  if (auto it = files_.find(from); it != files_.end()) files_[to] = it->second;
  changes_.push_back({DirectoryOf(to), "", to, "", 0});
}

// Beside the directory, since the store looks at all names within.
std::string FaultDisk::Bury(const std::string& path) {
  const std::filesystem::path graves = std::filesystem::path(DirectoryOf(path)).parent_path() / "graves";
  std::error_code ignored;
  std::filesystem::create_directory(graves, ignored);
  std::string grave = (graves / std::to_string(++graves_)).string();
  return rename(path.c_str(), grave.c_str()) == 0 ? grave : "";
}

bool FaultDisk::Remove(const std::string& path) {
  std::lock_guard lock(mutex_);
  NameChange change{DirectoryOf(path), path, "", "", 0};
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return false;
  auto it = files_.find(path);
  change.grave_synced = it != files_.end() ? it->second : static_cast<uint64_t>(info.st_size);
  change.grave = Bury(path);
  if (change.grave.empty()) return false;
  if (it != files_.end()) files_.erase(it);
  changes_.push_back(std::move(change));
  return true;
}

bool FaultDisk::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  NameChange change{DirectoryOf(to), from, to, "", 0};
  struct stat info;
  if (lstat(to.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
    auto it = files_.find(to);
    change.grave_synced = it != files_.end() ? it->second : static_cast<uint64_t>(info.st_size);
    change.grave = Bury(to);
  }
  if (rename(from.c_str(), to.c_str()) != 0) return false;
  files_.erase(to);
  MoveRecords(from, to);
  changes_.push_back(std::move(change));
  return true;
}

// A file, or a directory with all that is in it. Requires the lock.
void FaultDisk::MoveRecords(const std::string& from, const std::string& to) {
  const auto moved = [&](std::string* path) {
    if (*path != from && !path->starts_with(from + "/")) return false;
    *path = to + path->substr(from.size());
    return true;
  };
  std::map<std::string, uint64_t> files;
  for (const auto& [path, synced] : files_) {
    std::string name = path;
    moved(&name);
    files[name] = synced;
  }
  files_ = std::move(files);
  // The names of the file itself stay what they were when it got them.
  for (NameChange& change : changes_) {
    if (!moved(&change.directory)) continue;
    moved(&change.from);
    moved(&change.to);
  }
}

void FaultDisk::Cut(uint64_t seed) {
  std::lock_guard power(power_);
  std::lock_guard lock(mutex_);
  if (std::exchange(cut_, true)) return;
  seed_ = seed;
  changes_before_cut_ = changes_.size();
  for (const auto& [path, synced] : files_) sizes_[path] = SizeOf(path);
}

absl::Status FaultDisk::Restore() {
  std::lock_guard power(power_);
  std::lock_guard lock(mutex_);
  if (cut_) {
    // What came after the cut, then what the cut has taken.
    TERRANE_RETURN_IF_ERROR(UndoNames(changes_before_cut_, /*removals=*/true));
    std::mt19937_64 random(seed_);
    for (const auto& [path, synced] : files_) TERRANE_RETURN_IF_ERROR(Forget(path, synced, &random));
    TERRANE_RETURN_IF_ERROR(UndoNames(seed_ == 0 ? 0 : random() % (changes_.size() + 1), /*removals=*/seed_ != 0));
  }
  for (const NameChange& change : changes_) {
    if (!change.grave.empty()) unlink(change.grave.c_str());
  }
  changes_.clear();
  files_.clear();
  sizes_.clear();
  cut_ = false;
  fail = false;
  return absl::OkStatus();
}

// All changes but the first `kept`, the last one first. Without `removals` what was removed stays so.
absl::Status FaultDisk::UndoNames(size_t kept, bool removals) {
  while (changes_.size() > kept) {
    const NameChange change = std::move(changes_.back());
    changes_.pop_back();
    if (change.to.empty() && !removals) {
      unlink(change.grave.c_str());
      continue;
    }
    if (change.from.empty()) {
      unlink(change.to.c_str());
      files_.erase(change.to);
      continue;
    }
    if (!change.to.empty()) {
      if (rename(change.to.c_str(), change.from.c_str()) != 0) return Internal("naming ", change.to, " back");
      MoveRecords(change.to, change.from);
    }
    if (change.grave.empty()) continue;
    const std::string& name = change.to.empty() ? change.from : change.to;
    if (rename(change.grave.c_str(), name.c_str()) != 0) return Internal("bringing back ", name);
    files_[name] = change.grave_synced;
  }
  return absl::OkStatus();
}

absl::Status FaultDisk::Forget(const std::string& path, uint64_t synced, std::mt19937_64* random) const {
  const uint64_t size = SizeOf(path);
  if (size <= synced) return absl::OkStatus();
  // What was written after the cut is not there; one that is not known of then has nothing else.
  auto at_cut = sizes_.find(path);
  const uint64_t end = at_cut == sizes_.end() ? synced : std::max(synced, at_cut->second);
  uint64_t keep = synced;
  if (seed_ != 0) keep += (*random)() % (end - synced + 1);
  if (truncate(path.c_str(), static_cast<off_t>(keep)) != 0) return Internal("truncating ", path);
  // A file system makes a file longer when its new bytes are there, so what survives is a beginning; RocksDB's lists of
  // files rely on that. Its write-ahead log is expected to stand more.
  if (keep == synced || !path.ends_with(".log")) return absl::OkStatus();
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return Internal("opening ", path);
  const std::string zeros(kSector, '\0');
  for (uint64_t begin = synced; begin < keep;) {
    const uint64_t next = std::min(keep, (begin / kSector + 1) * kSector);
    if ((*random)() % 2 == 0 && pwrite(fd, zeros.data(), next - begin, static_cast<off_t>(begin)) < 0) break;
    begin = next;
  }
  close(fd);
  return absl::OkStatus();
}

bool FaultDisk::SkipsSync(const std::string& path) const {
  std::lock_guard lock(mutex_);
  return !ignore_.empty() && path.ends_with(ignore_);
}

void FaultDisk::IgnoreSyncsOf(std::string suffix) {
  std::lock_guard lock(mutex_);
  ignore_ = std::move(suffix);
}

}  // namespace terrane::storage
