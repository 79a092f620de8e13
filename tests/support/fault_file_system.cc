#include "support/fault_file_system.h"

#include <algorithm>

#include "common/status.h"

namespace terrane::testing {

using replication::File;
using replication::FileLock;
using replication::OpenMode;

namespace {
constexpr uint64_t kSector = 512;
}

class FaultFile : public File {
 public:
  FaultFile(FaultFileSystem* owner, uint64_t generation, std::shared_ptr<FaultFileSystem::Inode> inode,
            FaultFileSystem::Path path)
      : owner_(owner), generation_(generation), inode_(std::move(inode)), path_(std::move(path)) {}

  absl::Status Write(uint64_t offset, std::string_view bytes) override {
    return owner_->Write(generation_, inode_.get(), path_, offset, bytes);
  }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t size) override {
    std::lock_guard lock(owner_->mutex_);
    if (offset >= inode_->cache.size()) return std::string();
    return inode_->cache.substr(offset, size);
  }
  absl::StatusOr<uint64_t> Size() override {
    std::lock_guard lock(owner_->mutex_);
    return inode_->cache.size();
  }
  absl::Status Sync() override { return owner_->Sync(generation_, inode_.get(), path_); }

 private:
  FaultFileSystem* const owner_;
  const uint64_t generation_;
  const std::shared_ptr<FaultFileSystem::Inode> inode_;
  const FaultFileSystem::Path path_;
};

class FaultLock : public FileLock {
 public:
  FaultLock(FaultFileSystem* owner, uint64_t generation, std::string key)
      : owner_(owner), generation_(generation), key_(std::move(key)) {}
  ~FaultLock() override {
    std::lock_guard lock(owner_->mutex_);
    if (owner_->generation_ == generation_) owner_->locks_.erase(key_);
  }

 private:
  FaultFileSystem* const owner_;
  const uint64_t generation_;
  const std::string key_;
};

FaultFileSystem::FaultFileSystem() = default;
FaultFileSystem::~FaultFileSystem() = default;

void FaultFileSystem::PowerCut(std::mt19937_64* random) {
  std::lock_guard lock(mutex_);
  CutPower(random);
}

void FaultFileSystem::PowerOff(std::mt19937_64* random) {
  std::lock_guard lock(mutex_);
  if (std::exchange(off_, true)) return;
  CutPower(random);
}

void FaultFileSystem::PowerOn() {
  std::lock_guard lock(mutex_);
  off_ = false;
}

absl::Status FaultFileSystem::Powered(const Path& path) const {
  return off_ ? Unavailable(path.string(), ": the power is gone") : absl::OkStatus();
}

void FaultFileSystem::CutPower(std::mt19937_64* random) {
  ++generation_;
  locks_.clear();
  size_t kept_names = unsynced_names_.empty() ? 0 : (*random)() % (unsynced_names_.size() + 1);
  for (size_t i = 0; i < kept_names; ++i) Apply(unsynced_names_[i], &durable_names_);
  unsynced_names_.clear();
  names_ = durable_names_;
  for (auto& [name, inode] : names_) {
    if (inode == nullptr) continue;
    for (uint64_t sector : inode->unsynced) {
      if ((*random)() % 2 == 0) continue;
      const uint64_t at = sector * kSector;
      if (at >= inode->cache.size()) continue;
      std::string_view bytes = std::string_view(inode->cache).substr(at, kSector);
      if (inode->disk.size() < at + bytes.size()) inode->disk.resize(at + bytes.size(), '\0');
      inode->disk.replace(at, bytes.size(), bytes);
    }
    inode->unsynced.clear();
    inode->cache = inode->disk;
  }
}

void FaultFileSystem::FailSync(int n) {
  std::lock_guard lock(mutex_);
  fail_sync_ = n;
}

void FaultFileSystem::FailWrite(int n) {
  std::lock_guard lock(mutex_);
  fail_write_ = n;
}

void FaultFileSystem::SetSyncHook(std::function<void(const Path&)> hook) {
  std::lock_guard lock(mutex_);
  sync_hook_ = std::move(hook);
}

void FaultFileSystem::IgnoreSyncs(bool ignore) {
  std::lock_guard lock(mutex_);
  ignore_syncs_ = ignore;
}

FaultFileSystem::Inode* FaultFileSystem::Find(const Path& path) const {
  auto it = names_.find(Key(path));
  return it == names_.end() ? nullptr : it->second.get();
}

void FaultFileSystem::FlipBit(const Path& path, uint64_t offset, int bit) {
  std::lock_guard lock(mutex_);
  Inode* inode = Find(path);
  for (std::string* bytes : {&inode->cache, &inode->disk}) {
    if (offset < bytes->size()) (*bytes)[offset] ^= static_cast<char>(1 << bit);
  }
}

void FaultFileSystem::ZeroSector(const Path& path, uint64_t sector) {
  Overwrite(path, sector * kSector, std::string(kSector, '\0'));
}

void FaultFileSystem::Overwrite(const Path& path, uint64_t offset, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  Inode* inode = Find(path);
  for (std::string* content : {&inode->cache, &inode->disk}) content->replace(offset, bytes.size(), bytes);
}

void FaultFileSystem::Truncate(const Path& path, uint64_t size) {
  std::lock_guard lock(mutex_);
  Inode* inode = Find(path);
  inode->cache.resize(size);
  inode->disk.resize(size);
}

void FaultFileSystem::RemoveFile(const Path& path) {
  std::lock_guard lock(mutex_);
  names_.erase(Key(path));
  durable_names_.erase(Key(path));
}

std::string FaultFileSystem::Content(const Path& path) const {
  std::lock_guard lock(mutex_);
  Inode* inode = Find(path);
  return inode == nullptr ? "" : inode->cache;
}

void FaultFileSystem::SetContent(const Path& path, std::string content) {
  std::lock_guard lock(mutex_);
  auto inode = std::make_shared<Inode>();
  inode->cache = inode->disk = std::move(content);
  names_[Key(path)] = durable_names_[Key(path)] = inode;
}

std::map<std::string, std::string> FaultFileSystem::Image() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> image;
  for (const auto& [name, inode] : names_) image[inode == nullptr ? name + "/" : name] = inode ? inode->cache : "";
  return image;
}

void FaultFileSystem::Restore(const std::map<std::string, std::string>& image) {
  std::lock_guard lock(mutex_);
  ++generation_;
  locks_.clear();
  unsynced_names_.clear();
  names_.clear();
  for (const auto& [name, content] : image) {
    if (name.ends_with('/')) {
      names_[name.substr(0, name.size() - 1)] = nullptr;
    } else {
      auto inode = std::make_shared<Inode>();
      inode->cache = inode->disk = content;
      names_[name] = inode;
    }
  }
  durable_names_ = names_;
}

uint64_t FaultFileSystem::syncs() const {
  std::lock_guard lock(mutex_);
  return syncs_;
}

uint64_t FaultFileSystem::writes() const {
  std::lock_guard lock(mutex_);
  return writes_;
}

void FaultFileSystem::Apply(const NameChange& change, Names* names) {
  if (!change.remove.empty()) names->erase(change.remove);
  if (!change.add.empty()) (*names)[change.add] = change.inode;
}

void FaultFileSystem::ChangeName(NameChange change) {
  Apply(change, &names_);
  unsynced_names_.push_back(std::move(change));
}

absl::Status FaultFileSystem::Write(uint64_t generation, Inode* inode, const Path& path, uint64_t offset,
                                    std::string_view bytes) {
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  if (generation != generation_) return Unavailable("cannot write ", path.string(), ": the power is gone");
  ++writes_;
  if (fail_write_ > 0 && --fail_write_ == 0) return Unavailable("cannot write ", path.string(), ": injected");
  if (inode->cache.size() < offset + bytes.size()) inode->cache.resize(offset + bytes.size(), '\0');
  inode->cache.replace(offset, bytes.size(), bytes);
  for (uint64_t sector = offset / kSector; sector * kSector < offset + bytes.size(); ++sector) {
    inode->unsynced.insert(sector);
  }
  return absl::OkStatus();
}

absl::Status FaultFileSystem::Sync(uint64_t generation, Inode* inode, const Path& path) {
  std::function<void(const Path&)> hook;
  {
    std::lock_guard lock(mutex_);
    hook = sync_hook_;
  }
  if (hook) hook(path);
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  if (generation != generation_) return Unavailable("cannot sync ", path.string(), ": the power is gone");
  ++syncs_;
  if (fail_sync_ > 0 && --fail_sync_ == 0) {
    inode->unsynced.clear();  // the kernel marks the pages clean
    return Unavailable("cannot sync ", path.string(), ": injected");
  }
  if (ignore_syncs_) return absl::OkStatus();
  inode->disk.resize(inode->cache.size(), '\0');
  for (uint64_t sector : inode->unsynced) {
    std::string_view bytes = std::string_view(inode->cache).substr(sector * kSector, kSector);
    inode->disk.replace(sector * kSector, bytes.size(), bytes);
  }
  inode->unsynced.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> FaultFileSystem::Open(const Path& path, OpenMode mode) {
  if (operation_hook_ && mode == OpenMode::kCreate) operation_hook_();
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(path));
  auto it = names_.find(Key(path));
  std::shared_ptr<Inode> inode = it == names_.end() ? nullptr : it->second;
  if (mode == OpenMode::kCreate) {
    inode = std::make_shared<Inode>();
    ChangeName({Key(path.parent_path()), "", Key(path), inode});
  }
  if (inode == nullptr) return NotFound("cannot open ", path.string(), ": no such file");
  return std::make_unique<FaultFile>(this, generation_, std::move(inode), path);
}

absl::Status FaultFileSystem::CreateDirectories(const Path& path) {
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(path));
  Path at;
  for (const Path& part : path.lexically_normal()) {
    at /= part;
    if (part.empty() || names_.contains(Key(at))) continue;
    names_[Key(at)] = durable_names_[Key(at)] = nullptr;  // directories are durable at once: not what is tested here
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultFileSystem::List(const Path& directory) {
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(directory));
  std::vector<std::string> names;
  for (const auto& [name, inode] : names_) {
    const Path path(name);
    if (Key(path.parent_path()) == Key(directory) && path != directory) names.push_back(path.filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool FaultFileSystem::Exists(const Path& path) {
  std::lock_guard lock(mutex_);
  return names_.contains(Key(path));
}

absl::Status FaultFileSystem::Remove(const Path& path) {
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(path));
  if (names_.contains(Key(path))) ChangeName({Key(path.parent_path()), Key(path), "", nullptr});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::RemoveAll(const Path& path) {
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(path));
  const std::string prefix = Key(path) + "/";
  std::vector<std::string> gone;
  for (const auto& [name, inode] : names_) {
    if (name == Key(path) || name.starts_with(prefix)) gone.push_back(name);
  }
  for (auto it = gone.rbegin(); it != gone.rend(); ++it) ChangeName({Key(Path(*it).parent_path()), *it, "", nullptr});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::Rename(const Path& from, const Path& to) {
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(from));
  auto it = names_.find(Key(from));
  if (it == names_.end()) return NotFound("cannot rename ", from.string(), ": no such file");
  ChangeName({Key(to.parent_path()), Key(from), Key(to), it->second});
  return absl::OkStatus();
}

absl::Status FaultFileSystem::SyncDirectory(const Path& directory) {
  if (operation_hook_) operation_hook_();
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(directory));
  if (ignore_syncs_) return absl::OkStatus();
  for (auto it = unsynced_names_.begin(); it != unsynced_names_.end();) {
    if (it->directory == Key(directory)) {
      Apply(*it, &durable_names_);
      it = unsynced_names_.erase(it);
    } else {
      ++it;
    }
  }
  return absl::OkStatus();
}

void FaultFileSystem::SetSpace(replication::DiskSpace space) {
  std::lock_guard lock(mutex_);
  space_ = space;
}

absl::StatusOr<replication::DiskSpace> FaultFileSystem::Space(const Path&) {
  std::lock_guard lock(mutex_);
  return space_;
}

absl::StatusOr<std::unique_ptr<FileLock>> FaultFileSystem::Lock(const Path& path) {
  std::lock_guard lock(mutex_);
  TERRANE_RETURN_IF_ERROR(Powered(path));
  if (!locks_.insert(Key(path)).second) {
    return FailedPrecondition("directory ", path.parent_path().string(), " is in use by another process");
  }
  return std::make_unique<FaultLock>(this, generation_, Key(path));
}

}  // namespace terrane::testing
