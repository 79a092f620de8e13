// The disk of one replica of a MiniCluster that was started with .disk_faults = true: goes wrong at the test's word,
// for the process that runs and for those that are started in its place.
//
//   cluster->disk("s1-a").Stall();   // every sync waits
//   cluster->disk("s1-a").Heal();
//
// Each call replaces what was before, and holds for every operation that begins after its return.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace terrane::testing {

class DiskControl {
 public:
  explicit DiskControl(std::filesystem::path file) : file_(std::move(file)) {}

  // common/disk_rules.h has the language.
  void Set(std::string_view rules) const;
  void Heal() const { Set(""); }
  // Syncs wait until the rules change.
  void Stall() const { Set("sync any stall"); }
  void Slow(std::chrono::milliseconds each_sync) const;
  // The n-th of these operations from now on, and only that one.
  void FailNth(std::string_view operation, std::string_view files, uint64_t n) const;
  void FlipNth(std::string_view files, uint64_t n) const;  // a bit of what is read
  // Room for so much more.
  void FullAt(uint64_t bytes, std::string_view files = "any") const;

 private:
  std::filesystem::path file_;
};

}  // namespace terrane::testing
