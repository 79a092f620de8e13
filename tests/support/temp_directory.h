// A directory of a test's own.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace terrane {

// A new, empty directory under the system's one for temporary files, removed with this object. Its name is one that no
// other process has: tests run beside each other, also several of one program. Declare it before what writes into it.
class TempDirectory {
 public:
  // `name`: which test a directory that was left behind belongs to. `under`: "" for the system's.
  explicit TempDirectory(const std::string& name, const std::filesystem::path& under = {}) {
    std::filesystem::path pattern = under.empty() ? std::filesystem::temp_directory_path() : under;
    std::string directory = (pattern / ("terrane-" + name + "-XXXXXX")).native();
    if (mkdtemp(directory.data()) == nullptr) std::abort();
    path_ = directory;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace terrane
