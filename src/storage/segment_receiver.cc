#include <rocksdb/env.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <utility>

#include "common/status.h"
#include "storage/fault_env.h"
#include "storage/segment.h"
#include "storage/views.h"

namespace terrane::storage {
namespace {

class SegmentReceiverImpl final : public SegmentReceiver {
 public:
  SegmentReceiverImpl(std::filesystem::path directory, SegmentFile file, std::shared_ptr<StoreDisk> faults)
      : directory_(std::move(directory)), file_(std::move(file)), faults_(std::move(faults)) {
    XXH3_INITSTATE(&hash_);
    XXH3_64bits_reset(&hash_);
  }
  ~SegmentReceiverImpl() override {
    if (out_ == nullptr) return;
    out_->Close().PermitUncheckedError();
    EnvOf(faults_)->DeleteFile(Partial().string()).PermitUncheckedError();
  }

  absl::Status Open() {
    return FromRocks(EnvOf(faults_)->NewWritableFile(Partial().string(), &out_, rocksdb::EnvOptions()),
                     StrCat("making ", Partial().string()));
  }

  int64_t received() const override { return received_; }

  absl::Status Append(std::string_view data) override {
    if (received_ + static_cast<int64_t>(data.size()) > file_.bytes) {
      return DataLoss("segment file ", file_.name, ": more than its ", file_.bytes, " bytes came");
    }
    TERRANE_RETURN_IF_ERROR(FromRocks(out_->Append(ToSlice(data)), StrCat("writing ", Partial().string())));
    XXH3_64bits_update(&hash_, data.data(), data.size());
    received_ += static_cast<int64_t>(data.size());
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (received_ != file_.bytes || XXH3_64bits_digest(&hash_) != file_.checksum) {
      return DataLoss("segment file ", file_.name, ": what came (", received_, " bytes) is not what the entry names (",
                      file_.bytes, " bytes)");
    }
    const std::string path = (directory_ / file_.name).string();
    TERRANE_RETURN_IF_ERROR(FromRocks(out_->Sync(), StrCat("syncing ", Partial().string())));
    TERRANE_RETURN_IF_ERROR(FromRocks(out_->Close(), StrCat("closing ", Partial().string())));
    TERRANE_RETURN_IF_ERROR(FromRocks(EnvOf(faults_)->RenameFile(Partial().string(), path), StrCat("naming ", path)));
    out_.reset();
    return SyncDirectory(faults_, directory_);
  }

 private:
  std::filesystem::path Partial() const { return directory_ / StrCat(file_.name, kPartialSuffix); }

  const std::filesystem::path directory_;
  const SegmentFile file_;
  const std::shared_ptr<StoreDisk> faults_;
  std::unique_ptr<rocksdb::WritableFile> out_;  // null once the file has its name
  XXH3_state_t hash_;
  int64_t received_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentReceiver>> MakeSegmentReceiver(const std::filesystem::path& directory,
                                                                     const SegmentFile& file,
                                                                     const std::shared_ptr<StoreDisk>& faults) {
  auto receiver = std::make_unique<SegmentReceiverImpl>(directory, file, faults);
  TERRANE_RETURN_IF_ERROR(receiver->Open());
  return receiver;
}

}  // namespace terrane::storage
