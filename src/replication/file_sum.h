// Checksums of the files of a checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace terrane::replication {

// xxh3 of what was added.
class FileSum {
 public:
  FileSum();
  ~FileSum();
  FileSum(FileSum&& other) noexcept;
  FileSum& operator=(FileSum&& other) noexcept;
  void Add(std::string_view bytes);
  uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Sums of a checkpoint's files by name, as far as they are known. Thread-safe.
class FileSums {
 public:
  std::optional<uint64_t> Find(const std::string& name) const {
    std::lock_guard lock(mutex_);
    const auto it = sums_.find(name);
    return it == sums_.end() ? std::nullopt : std::optional<uint64_t>(it->second);
  }
  void Note(const std::string& name, uint64_t sum) {
    std::lock_guard lock(mutex_);
    sums_[name] = sum;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t> sums_;
};

}  // namespace terrane::replication
