#include "tools/importer.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "common/status.h"
#include "document/extended_json.h"

namespace terrane::tools {
namespace {

constexpr size_t kBatchesWaiting = 8;

struct Batch {
  std::vector<std::string> documents;
  std::vector<int64_t> numbers;
  std::vector<std::string> texts;
  int64_t bytes = 0;
};

// The queue between the reader and the workers, and what came of it.
class Pipeline {
 public:
  Pipeline(client::Client& client, const ImportOptions& options,
           const std::function<void(const RefusedDocument&)>& refused)
      : client_(client), options_(options), refused_(refused) {
    for (int i = 0; i < options.workers; ++i) workers_.emplace_back([this] { Work(); });
  }
  ~Pipeline() { (void)Finish(); }

  // Blocks while too much waits. False: a batch failed, nothing more is taken.
  bool Push(Batch batch) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return queue_.size() < kBatchesWaiting || !status_.ok(); });
    if (!status_.ok()) return false;
    queue_.push_back(std::move(batch));
    work_.notify_one();
    return true;
  }

  void Refuse(RefusedDocument document) {
    std::lock_guard lock(mutex_);
    ++done_.refused;
    refused_(document);
  }

  ImportProgress Done() const {
    std::lock_guard lock(mutex_);
    return done_;
  }

  // Until all that was pushed is in, or the first failure.
  absl::Status Finish() {
    {
      std::lock_guard lock(mutex_);
      finished_ = true;
    }
    work_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    return status_;
  }

 private:
  void Work() {
    while (true) {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return !queue_.empty() || finished_ || !status_.ok(); });
      if (!status_.ok() || queue_.empty()) return;
      Batch batch = std::move(queue_.front());
      queue_.pop_front();
      room_.notify_one();
      lock.unlock();
      absl::StatusOr<client::InsertResult> result =
          client_.Insert(options_.collection, batch.documents, {.deadline = options_.deadline});
      lock.lock();
      if (!result.ok()) {
        if (status_.ok()) status_ = result.status();
        room_.notify_all();
        work_.notify_all();
        return;
      }
      Count(batch, *result);
    }
  }

  void Count(const Batch& batch, const client::InsertResult& result) {
    done_.documents += result.inserted;
    done_.bytes_in += batch.bytes;
    for (const v1::WriteError& error : result.errors) {
      const auto i = static_cast<size_t>(error.index());
      if (i >= batch.documents.size()) continue;
      ++done_.refused;
      done_.bytes_in -= static_cast<int64_t>(batch.documents[i].size());
      refused_({batch.numbers[i], error.message(),
                batch.texts[i].empty() ? document::ToCanonicalJson(batch.documents[i]) : batch.texts[i]});
    }
  }

  client::Client& client_;
  const ImportOptions& options_;
  const std::function<void(const RefusedDocument&)>& refused_;
  mutable std::mutex mutex_;
  std::condition_variable work_, room_;
  std::deque<Batch> queue_;
  bool finished_ = false;
  absl::Status status_;  // of the first batch that failed
  ImportProgress done_;
  std::vector<std::thread> workers_;
};

}  // namespace

absl::Status Import(client::Client& client, DocumentReader& reader, const ImportOptions& options,
                    const std::function<void(const ImportProgress&)>& progress,
                    const std::function<void(const RefusedDocument&)>& refused, ImportProgress* last) {
  Pipeline pipeline(client, options, refused);
  absl::Status read;
  Batch batch;
  bool open = true;
  const auto push = [&] {
    open = pipeline.Push(std::exchange(batch, {}));
    ImportProgress now = pipeline.Done();
    now.bytes_read = reader.position();
    progress(now);
  };
  while (open) {
    if (options.interrupted()) {
      read = absl::CancelledError("interrupted");
      break;
    }
    absl::StatusOr<std::optional<SourceDocument>> next = reader.Next();
    if (!next.ok()) {
      read = next.status();
      break;
    }
    if (!*next) break;
    SourceDocument& document = **next;
    if (!document.bson.ok()) {
      pipeline.Refuse({document.number, std::string(MessageOf(document.bson.status())), std::move(document.text)});
      continue;
    }
    batch.bytes += static_cast<int64_t>(document.bson->size());
    batch.documents.push_back(*std::move(document.bson));
    batch.numbers.push_back(document.number);
    batch.texts.push_back(std::move(document.text));
    if (static_cast<int64_t>(batch.documents.size()) >= options.batch_documents || batch.bytes >= options.batch_bytes) {
      push();
    }
  }
  if (open && !batch.documents.empty() && !absl::IsCancelled(read)) push();
  const absl::Status written = pipeline.Finish();
  *last = pipeline.Done();
  last->bytes_read = reader.position();
  return written.ok() ? read : written;
}

}  // namespace terrane::tools
