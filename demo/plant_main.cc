// terrane-plant: spoils one document in the data directory of a stopped shard, below the API and behind the digest's
// back. For the demonstration and for tests, which must be able to fail.
//
//   terrane-plant lost|duplicated|stale DATA_DIRECTORY COPY_ID SHARD_KEY_HEX ID_HEX
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/escaping.h"
#include "common/status.h"
#include "document/builder.h"
#include "document/update.h"
#include "storage/store.h"

namespace terrane::demo {
namespace {

absl::Status Plant(const std::string& what, const std::string& directory, CopyId copy, const std::string& shard_key,
                   const std::string& id) {
  storage::StoreOptions options;
  options.directory = directory;
  options.create = false;
  TERRANE_ASSIGN_OR_RETURN(const auto store, storage::Store::Open(std::move(options)));
  const auto batch = store->NewBatch();
  TERRANE_ASSIGN_OR_RETURN(const std::optional<std::string> document, batch->GetDocument(copy, shard_key, id));
  if (!document) return NotFound("copy ", copy.value(), " holds no such document");
  if (what == "lost") {
    batch->DeleteDocument(copy, shard_key, id);
  } else if (what == "duplicated") {
    std::string elsewhere = shard_key;
    elsewhere.back() = static_cast<char>(elsewhere.back() ^ 1);
    batch->PutDocument(copy, elsewhere, id, *document);
  } else if (what == "stale") {
    TERRANE_ASSIGN_OR_RETURN(
        const document::Update older,
        document::Update::Parse(
            document::Builder().Append("$inc", document::Builder().Append("v", int64_t{-1})).Finish()));
    TERRANE_ASSIGN_OR_RETURN(const std::string spoilt, older.Apply(*document));
    batch->PutDocument(copy, shard_key, id, spoilt);
  } else {
    return InvalidArgument("what to plant is lost, duplicated or stale, not ", what);
  }
  TERRANE_RETURN_IF_ERROR(batch->Commit(store->AppliedPosition()));
  return store->MakeDurable().status();
}

}  // namespace
}  // namespace terrane::demo

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: terrane-plant lost|duplicated|stale DATA_DIRECTORY COPY_ID SHARD_KEY_HEX ID_HEX\n");
    return 2;
  }
  const absl::Status status =
      terrane::demo::Plant(argv[1], argv[2], terrane::CopyId(static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10))),
                           absl::HexStringToBytes(argv[4]), absl::HexStringToBytes(argv[5]));
  if (!status.ok()) {
    std::fprintf(stderr, "error: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
