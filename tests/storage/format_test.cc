// A store that a newer program has written.
#include <rocksdb/cache.h>

#include "storage/database.h"
#include "support.h"

namespace terrane::storage {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(StoreTest, ANewerFormatIsRefusedByName) {
  ASSERT_NO_FATAL_FAILURE(Open());
  Put(kCopy, 0, 10, "v");
  store_.reset();
  {
    auto database = Database::Open(options_.directory / "db-1", options_, rocksdb::NewLRUCache(1 << 20),
                                   std::make_shared<FatalHandler>(nullptr, nullptr), /*create=*/false);
    ASSERT_OK(database);
    rocksdb::WriteBatch batch;
    batch.Put((*database)->handle(Family::kState), ToSlice(kFormatName), EncodeNumber(kFormatVersion + 1));
    ASSERT_OK((*database)->Write(&batch, /*sync=*/true, "a newer program"));
  }
  const absl::Status refused = Store::Open(options_).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.ToString(), AllOf(HasSubstr((options_.directory / "db-1").string()),
                                        HasSubstr("format version 2"), HasSubstr("start a newer one")));
}

}  // namespace
}  // namespace terrane::storage
