#include "common/disk_faults.h"

#include <sys/stat.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "common/logging.h"
#include "common/process.h"
#include "common/status.h"

namespace terrane {
namespace {

// How often a stalled operation looks whether the rules have changed, if no other one does.
constexpr std::chrono::milliseconds kLook{2};

}  // namespace

absl::StatusOr<std::shared_ptr<DiskFaults>> DiskFaults::Create(std::vector<DiskRule> always,
                                                               std::filesystem::path file) {
  std::shared_ptr<DiskFaults> faults(new DiskFaults(std::move(always), std::move(file)));
  std::lock_guard lock(faults->mutex_);
  faults->rules_ = DiskRules(faults->always_);
  faults->noted_.assign(faults->always_.size(), false);
  TERRANE_RETURN_IF_ERROR(faults->Read().status());
  return faults;
}

absl::StatusOr<bool> DiskFaults::Read() {
  if (file_.empty()) return false;
  Version version;
  struct stat info;
  if (stat(file_.c_str(), &info) == 0) {
    version = {info.st_ino, int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
  }
  if (version == version_) return false;
  std::vector<DiskRule> rules = always_;
  if (version != Version()) {
    const absl::StatusOr<std::string> text = ReadWholeFile(file_);
    if (!text.ok()) return false;  // replaced this very moment
    absl::StatusOr<std::vector<DiskRule>> more = ParseDiskRules(*text);
    if (!more.ok()) return Annotate(more.status(), file_.native());
    for (DiskRule& rule : *more) rules.push_back(std::move(rule));
  }
  version_ = version;
  rules_ = DiskRules(std::move(rules));
  noted_.assign(rules_.rules().size(), false);
  ++generation_;
  changed_.notify_all();
  return true;
}

void DiskFaults::ReadOrEnd() {
  if (absl::Status status = Read().status(); !status.ok()) {
    std::cerr << "error: " << MessageOf(status) << std::endl;
    _exit(kExitUsage);
  }
}

DiskVerdict DiskFaults::Before(DiskOperation operation, std::string_view path, uint64_t grows) {
  const DiskFiles files = DiskFilesOf(path);
  std::unique_lock lock(mutex_);
  while (true) {
    ReadOrEnd();
    DiskVerdict verdict = rules_.Decide(operation, files, grows);
    Note(verdict, path);
    if (!verdict.stall) {
      lock.unlock();
      if (verdict.delay.count() > 0) std::this_thread::sleep_for(verdict.delay);  // a slow disk is the point
      return verdict;
    }
    for (const uint64_t stalled = generation_; generation_ == stalled; ReadOrEnd()) changed_.wait_for(lock, kLook);
  }
}

void DiskFaults::Note(const DiskVerdict& verdict, std::string_view path) {
  for (size_t rule : verdict.rules) {
    if (noted_[rule]) continue;
    noted_[rule] = true;
    LogWarn("disk", "a rule is met for the first time", {{"rule", rules_.rules()[rule].text}, {"path", path}});
  }
}

std::optional<uint64_t> DiskFaults::Room() {
  std::lock_guard lock(mutex_);
  ReadOrEnd();
  return rules_.Room();
}

}  // namespace terrane
