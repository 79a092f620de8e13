#include "tools/document_reader.h"

#include <cstring>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/limits.h"
#include "document/validate.h"

namespace terrane::tools {
namespace {

constexpr uint32_t kLeastDocument = 5;

class NdjsonReader : public DocumentReader {
 public:
  explicit NdjsonReader(std::istream& in) : in_(in) {}

  absl::StatusOr<std::optional<SourceDocument>> Next() override {
    std::string line;
    while (std::getline(in_, line)) {
      ++number_;
      position_ += static_cast<int64_t>(line.size()) + 1;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      SourceDocument document{number_, "", document::DocumentFromJson(line)};
      document.text = std::move(line);
      return document;
    }
    if (in_.bad()) return DataLoss("reading failed behind line ", number_);
    return std::nullopt;
  }

 private:
  std::istream& in_;
  int64_t number_ = 0;
};

class BsonReader : public DocumentReader {
 public:
  explicit BsonReader(std::istream& in) : in_(in) {}

  absl::StatusOr<std::optional<SourceDocument>> Next() override {
    char prefix[4];
    in_.read(prefix, sizeof prefix);
    if (in_.gcount() == 0 && in_.eof()) return std::nullopt;
    ++number_;
    uint32_t size = 0;  // little endian, as is every machine that this runs on
    if (in_.gcount() == sizeof prefix) memcpy(&size, prefix, sizeof size);
    // Without a length that can be trusted nobody knows where the next document begins.
    if (size < kLeastDocument || size > 4 * document::kMaxDocumentBytes) {
      return DataLoss("not BSON at byte ", position_, ": document ", number_, " has no possible length (", size, ")");
    }
    std::string bson(prefix, sizeof prefix);
    bson.resize(size);
    in_.read(bson.data() + sizeof prefix, size - sizeof prefix);
    if (in_.gcount() != static_cast<std::streamsize>(size - sizeof prefix)) {
      return DataLoss("the file ends inside of document ", number_, ", which begins at byte ", position_);
    }
    position_ += size;
    SourceDocument document{number_, "", bson};
    if (absl::Status status = document::ValidateDocument(bson); !status.ok()) document.bson = status;
    return document;
  }

 private:
  std::istream& in_;
  int64_t number_ = 0;
};

}  // namespace

std::unique_ptr<DocumentReader> DocumentReader::Make(FileFormat format, std::istream& in) {
  if (format == FileFormat::kBson) return std::make_unique<BsonReader>(in);
  return std::make_unique<NdjsonReader>(in);
}

}  // namespace terrane::tools
