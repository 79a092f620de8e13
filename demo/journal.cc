#include "journal.h"

#include "common/status.h"

namespace terrane::demo {

Journal::Journal(const std::string& path) : path_(path), out_(path, std::ios::trunc) {}

void Journal::Line(char op, const std::string& id, int64_t value) {
  out_ << op << ' ' << id << ' ' << value << '\n';
  ++lines_;
}

void Journal::Deleted(const std::string& id) {
  out_ << "D " << id << '\n';
  ++lines_;
}

absl::Status Journal::Close() {
  out_.close();
  return out_ ? absl::OkStatus() : DataLoss("writing the journal ", path_, " failed");
}

}  // namespace terrane::demo
