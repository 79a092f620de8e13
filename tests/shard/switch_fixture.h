// A shard with one whole chunk, and short words for the entries of a move from it or to it.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "rpc/status.h"
#include "shard/splitter.h"
#include "shard_fixture.h"
#include "storage/segment.h"

namespace terrane::shard {

class SwitchFixture : public ShardFixture {
 protected:
  void SetUp() override {
    ShardFixture::SetUp();
    CreateWholeChunk();
  }
  template <typename Entry>
  static Entry Whole(Entry entry) {
    *entry.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    return entry;
  }
  EntryResult Do(const terrane::v1::PinEntry& pin) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_pin() = Whole(pin);
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::FenceEntry& fence) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_fence() = Whole(fence);
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::FenceReadsEntry& fence) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_fence_reads() = Whole(fence);
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::EndAttemptEntry& end) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_end_attempt() = Whole(end);
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::ReleaseCopy& release) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_release_copy() = Whole(release);
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::PrepareCopy& prepare) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_prepare_copy() = Whole(prepare);
    entry.mutable_prepare_copy()->set_shard_key(document::Builder().Append("k", 1).Finish());
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::ImportBatch& batch) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_import_batch() = batch;
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::CompleteEntry& complete) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_complete() = complete;
    return Propose(std::move(entry));
  }
  EntryResult Do(const terrane::v1::OwnCopy& own) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_own_copy() = own;
    return Propose(std::move(entry));
  }
  // {_id: 1, k: "a", n: `n`} as a segment of the target's copy.
  terrane::v1::IngestSegment SegmentOfOne(int n, Position reflects) {
    const std::string bson = Json(StrCat(R"({"_id":1,"k":"a","n":)", n, "}"));
    auto writer = host_->store().NewSegment(kTargetCopy, "m7-a1");
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE((*writer)->AddDocument(KeyOf("a"), IdOf(1), bson).ok());
    auto built = (*writer)->Finish();
    EXPECT_TRUE(built.ok()) << built.status();
    auto entry = Segment(reflects, {"", std::nullopt}, kMove, built->digest);
    for (const auto& file : built->files) storage::ToProto(file, entry.add_files());
    return entry;
  }
  EntryResult Do(const terrane::v1::IngestSegment& segment) {
    terrane::v1::ShardEntry entry;
    *entry.mutable_ingest_segment() = segment;
    return Propose(std::move(entry));
  }
  static terrane::v1::Change Upsert(std::string json) {
    const std::string bson = Json(json);
    terrane::v1::Change change;
    std::string key;
    document::AppendKey(*document::FindDirect(bson, "k"), &key);
    change.set_shard_key(key);
    change.set_id(*document::EncodeIdFromDocument(bson));
    change.set_document(bson);
    return change;
  }
  ChunkDigest RunningDigest(CopyId copy) {
    auto ownership = LoadOwnership(*host_->store().View());
    EXPECT_TRUE(ownership.ok());
    return ownership->OfCopy(copy)[0]->digest;
  }
  terrane::v1::ErrorDetail::Reason WriteReason(const terrane::v1::Route& route) {
    return rpc::ReasonOf(Insert(StrCat(R"({"_id": )", ++next_id_, R"(, "k": "w"})"), route));
  }
  int next_id_ = 100;
  const KeyRange left_{"", KeyOf("m")};
  void SplitAtM() {
    terrane::v1::SplitChunkStep step;
    step.set_collection_id(kCollection.value());
    *step.mutable_range() = ToProto(KeyRange{"", std::nullopt});
    step.set_at(*left_.max);
    ASSERT_TRUE(Splitter(&host_->core()).Split({}, step).ok());
  }
  template <typename Entry>
  EntryResult DoLeft(Entry body, Entry* (terrane::v1::ShardEntry::*in)()) {
    terrane::v1::ShardEntry entry;
    *body.mutable_range() = ToProto(left_);
    *(entry.*in)() = std::move(body);
    return Propose(std::move(entry));
  }
  // After SplitAtM; returns when nothing of it is left. `fenced` runs between fence and release.
  void MoveTheLeftHalfAway(const std::function<void()>& fenced = [] {}) {
    ASSERT_TRUE(DoLeft(Fence(), &terrane::v1::ShardEntry::mutable_fence).ok());
    fenced();
    ASSERT_TRUE(DoLeft(Release(), &terrane::v1::ShardEntry::mutable_release_copy).ok());
    ASSERT_TRUE(DoLeft(Drop(kCopy), &terrane::v1::ShardEntry::mutable_drop_copy).ok());
    const auto left_is_empty = [&] {
      auto view = host_->store().View(kCopy);
      return view.ok() && !(*view)->Documents(kCopy, left_)->Valid();
    };
    while (!left_is_empty()) std::this_thread::yield();
  }
};

}  // namespace terrane::shard
