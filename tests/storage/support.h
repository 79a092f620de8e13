// A store in a directory of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <memory>
#include <string>

#include "common/status.h"
#include "common/strings.h"
#include "storage/fault_injection.h"
#include "storage/store.h"
#include "support/temp_directory.h"

namespace terrane::storage {

#define ASSERT_OK(expression)                                           \
  do {                                                                  \
    const auto& status_or = (expression);                               \
    ASSERT_TRUE(status_or.ok()) << ::terrane::storage::Text(status_or); \
  } while (false)

inline std::string Text(const absl::Status& status) {
  return status.ToString();
}
template <typename T>
std::string Text(const absl::StatusOr<T>& value) {
  return value.status().ToString();
}

constexpr CopyId kCopy(7);
constexpr CopyId kNeighbour(8);
inline const std::string kSession(16, 's');

// n as an 8-byte big-endian shard key.
inline std::string Key(uint64_t n) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(n >> shift));
  return out;
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    options_.directory = directory_ / "data";
    options_.block_cache_bytes = 4 << 20;
    options_.write_buffer_bytes = 1 << 20;
    options_.drop_pause = std::chrono::milliseconds(0);
    options_.on_fatal = [this](const absl::Status& status) { fatal_ = status; };
  }
  ~StoreTest() override { store_.reset(); }

  void Open() {
    store_.reset();
    auto store = Store::Open(options_);
    ASSERT_TRUE(store.ok()) << store.status().ToString();
    store_ = *std::move(store);
  }

  // Reopens what is there, so that it is in tables, and flips a bit in the first block of each table of documents.
  void DamageDocuments() {
    ASSERT_NO_FATAL_FAILURE(Open());
    store_.reset();
    int damaged = 0;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory / "db-1")) {
      if (entry.path().extension() != ".sst") continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      const std::string content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      // Its properties: name and value of the family, behind the prefix of the name.
      if (content.find("namedocuments") == std::string::npos) continue;
      file.clear();
      file.seekp(20);
      file.put(static_cast<char>(content[20] ^ 0x10));
      ++damaged;
    }
    ASSERT_GE(damaged, 1);
    ASSERT_NO_FATAL_FAILURE(Open());
  }

  // One batch with documents [from, to) at the next position; text is their content.
  void Put(CopyId copy, uint64_t from, uint64_t to, const std::string& text) {
    std::unique_ptr<ApplyBatch> batch = store_->NewBatch();
    for (uint64_t n = from; n < to; ++n) batch->PutDocument(copy, Key(n), "id", StrCat(text, n));
    ASSERT_OK(batch->Commit(Next()));
  }
  Position Next() const { return Position(store_->AppliedPosition().value() + 1); }

  std::shared_ptr<const ReadView> View(CopyId copy) {
    auto view = store_->View(copy);
    EXPECT_TRUE(view.ok()) << view.status().ToString();
    return view.ok() ? *view : nullptr;
  }
  std::string Get(CopyId copy, uint64_t n) {
    auto document = View(copy)->GetDocument(copy, Key(n), "id");
    if (!document.ok()) return document.status().ToString();
    return document->value_or("none");
  }
  int64_t Count(CopyId copy, const KeyRange& range = {}) {
    auto digest = ScanDigest(*View(copy), copy, range);
    EXPECT_TRUE(digest.ok()) << digest.status().ToString();
    return digest.ok() ? digest->documents.count : -1;
  }
  // Drops and waits.
  absl::Status Drop(CopyId copy, std::optional<KeyRange> range = std::nullopt) {
    std::promise<absl::Status> done;
    store_->ScheduleDrop(copy, std::move(range), [&](absl::Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }
  // A segment of documents [from, to) of the copy, with a retry record each.
  BuiltSegment Build(CopyId copy, uint64_t from, uint64_t to, const std::string& text) {
    auto writer = store_->NewSegment(copy, "m1-a1");
    EXPECT_TRUE(writer.ok());
    for (uint64_t n = from; n < to; ++n) {
      EXPECT_TRUE((*writer)->AddDocument(Key(n), "id", StrCat(text, n)).ok());
      EXPECT_TRUE((*writer)->AddRetry(Key(n), "id", kSession, static_cast<int64_t>(1000 - n), StrCat("r", n)).ok());
    }
    auto built = (*writer)->Finish();
    EXPECT_TRUE(built.ok()) << built.status().ToString();
    return built.ok() ? *built : BuiltSegment{};
  }

  TempDirectory directory_{"storage"};
  StoreOptions options_;
  std::unique_ptr<Store> store_;
  absl::Status fatal_;
};

}  // namespace terrane::storage
