// Collections by name, with what their shard keys mean.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/ids.h"
#include "document/shard_key.h"
#include "proxy/metadata_watcher.h"
#include "routing/route_table.h"

namespace terrane::proxy {

struct OpenCollection {
  CollectionId id;
  document::ShardKeyPattern pattern;
};

// Thread-safe.
class Catalog {
 public:
  // Both must outlive it.
  Catalog(const routing::RouteTable* table, MetadataWatcher* watcher) : table_(table), watcher_(watcher) {}

  // Calls then(collection): here if it is known, else after the metadata service was asked once, or at the deadline.
  //   kNotFound NO_SUCH_COLLECTION, kUnavailable (not known, and the metadata service does not answer)
  //   kInvalidArgument (no name of a collection)
  void Open(std::string_view name, MonotonicTime deadline,
            std::function<void(absl::StatusOr<std::shared_ptr<const OpenCollection>>)> then);

 private:
  // Null: not known.
  absl::StatusOr<std::shared_ptr<const OpenCollection>> Known(std::string_view name);

  const routing::RouteTable* const table_;
  MetadataWatcher* const watcher_;
  std::shared_mutex mutex_;
  // By id: ids are never reused and a shard key never changes. Entries of dropped collections are few and small.
  std::map<CollectionId, std::shared_ptr<const OpenCollection>> open_;
};

}  // namespace terrane::proxy
