// What a client of the demo was told: one line for each acknowledged effect, in the order of the acknowledgements.
// demo/recount.py reads it and documents the format.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/status.h"

namespace terrane::demo {

// Belongs to one client thread. Lines reach the file system with Flush or Close.
class Journal {
 public:
  explicit Journal(const std::string& path);
  // `id` is the document's _id as JSON without spaces.
  void Inserted(const std::string& id, int64_t value) { Line('I', id, value); }
  void Set(const std::string& id, int64_t value) { Line('S', id, value); }
  void Deleted(const std::string& id);
  void Raised(const std::string& id, int64_t by) { Line('C', id, by); }
  int64_t lines() const { return lines_; }
  // An error if any line did not reach the file.
  absl::Status Close();

 private:
  void Line(char op, const std::string& id, int64_t value);

  std::string path_;
  std::ofstream out_;
  int64_t lines_ = 0;
};

}  // namespace terrane::demo
