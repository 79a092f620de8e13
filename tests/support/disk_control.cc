#include "support/disk_control.h"

#include <gtest/gtest.h>

#include <string>

#include "common/disk_rules.h"
#include "common/process.h"
#include "common/strings.h"

namespace terrane::testing {

void DiskControl::Set(std::string_view rules) const {
  const auto parsed = ParseDiskRules(rules);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  const absl::Status written = WriteFileAtomically(file_, rules);
  EXPECT_TRUE(written.ok()) << written;
}

void DiskControl::Slow(std::chrono::milliseconds each_sync) const {
  Set(StrCat("sync any delay ", each_sync.count(), "ms"));
}

void DiskControl::FailNth(std::string_view operation, std::string_view files, uint64_t n) const {
  Set(StrCat(operation, " ", files, " from ", n, " times 1 fail"));
}

void DiskControl::FlipNth(std::string_view files, uint64_t n) const {
  Set(StrCat("read ", files, " from ", n, " times 1 flip"));
}

void DiskControl::FullAt(uint64_t bytes, std::string_view files) const {
  Set(StrCat("write ", files, " full ", bytes));
}

}  // namespace terrane::testing
