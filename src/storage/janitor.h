// Internal: removes copies, and parts of copies, that nobody may read any more, on a thread of its own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"
#include "common/ids.h"
#include "common/key_range.h"
#include "storage/copy_references.h"
#include "storage/database.h"

namespace terrane::storage {

class Janitor {
 public:
  struct Pace {
    size_t batch_keys;
    std::chrono::milliseconds pause;
  };
  // `database` gives the present one.
  Janitor(std::shared_ptr<CopyReferenceTable> references, std::function<std::shared_ptr<Database>()> database,
          Pace pace);
  ~Janitor();

  void Schedule(CopyId copy, std::optional<KeyRange> range, std::function<void(absl::Status)> done);
  // Looks again whether something can go.
  void Wake();
  // Forgets what waits, and what is under way as soon as it can; returns when nothing is under way.
  void Forget();
  size_t Pending() const;

 private:
  struct Drop {
    CopyId copy;
    std::optional<KeyRange> range;
    std::function<void(absl::Status)> done;
  };

  void Run();
  std::optional<Drop> TakeRunnable();
  absl::Status DropWhole(Database& database, CopyId copy);
  absl::Status DropPart(Database& database, CopyId copy, const KeyRange& range);
  bool Interrupted() const;
  // False when the work shall end.
  bool Pause();

  std::shared_ptr<CopyReferenceTable> references_;
  std::function<std::shared_ptr<Database>()> database_;
  const Pace pace_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Drop> waiting_;
  bool busy_ = false;
  bool forget_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace terrane::storage
