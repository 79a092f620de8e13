// Internal: no hole in what RocksDB replays from its write-ahead log.
//
// After a power cut unsynced sectors may be zeros, or a whole unsynced log file be empty, while what was written later
// is there. RocksDB 7.8 takes zeros where a record would begin, or the end of a file between two records, for the end
// of this file and goes on with what follows: the families would hold some later writes without the earlier ones. So
// each write has a number, one more than the last, under kWritesName in the state family; and a replay ends where a
// number is missing, as at a record with a wrong checksum: RocksDB drops what follows, or refuses if a family has been
// flushed beyond it, which no power cut explains. What was dropped comes from the replicated log again.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace terrane::storage {

inline constexpr std::string_view kWritesName = "_writes";

// For one DB::Open, and at least as long as the database. RocksDB calls it on the thread that opens.
class WalChain : public rocksdb::WalFilter {
 public:
  // `flushed`: number of the last write whose state is in table files; 0: none, or written by a program that did not
  // number them. Everything up to it is in the table files of all families, or in a log file that is replayed.
  explicit WalChain(uint64_t flushed) : flushed_(flushed) {}

  // The last write before a hole; nullopt: there was none.
  std::optional<uint64_t> hole() const { return hole_; }

  const char* Name() const override { return "terrane.WalChain"; }
  void ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>& log_numbers,
                                const std::map<std::string, uint32_t>& ids) override;
  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& file,  // NOLINT: RocksDB's type
                                     const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* new_batch,
                                     bool* batch_changed) override;

 private:
  uint64_t flushed_;
  uint32_t state_family_ = 0;
  std::optional<uint64_t> last_;
  std::optional<uint64_t> hole_;
};

// The `flushed` of a database that nobody has open, by a look at its table files alone. `descriptors`: of the default
// and the state family. Changes nothing. kFailedPrecondition: it is in use; errors as DB::Open.
absl::StatusOr<uint64_t> FlushedWrites(const rocksdb::DBOptions& options, const std::filesystem::path& path,
                                       const std::vector<rocksdb::ColumnFamilyDescriptor>& descriptors);

}  // namespace terrane::storage
