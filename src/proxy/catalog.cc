#include "proxy/catalog.h"

#include <mutex>
#include <string>
#include <utility>

#include "common/status.h"
#include "proxy/router.h"

namespace terrane::proxy {
namespace {

// That of Collections.Create (metadata/collection_frontend.cc).
constexpr size_t kMaxNameBytes = 120;

}  // namespace

void Catalog::Open(std::string_view name, MonotonicTime deadline,
                   std::function<void(absl::StatusOr<std::shared_ptr<const OpenCollection>>)> then) {
  if (name.empty()) return then(InvalidArgument("no collection is named; expected database.collection"));
  // Else all others would wait for a search of names that are like it.
  if (name.size() > kMaxNameBytes) {
    return then(
        InvalidArgument("a collection's name has at most ", kMaxNameBytes, " bytes, this one has ", name.size()));
  }
  auto known = Known(name);
  if (!known.ok() || *known != nullptr) return then(std::move(known));
  // It may be younger than what this proxy has heard.
  watcher_->Refresh(deadline, [this, name = std::string(name), then = std::move(then)](const absl::Status& refreshed) {
    auto known = Known(name);
    if (!known.ok() || *known != nullptr) return then(std::move(known));
    if (!refreshed.ok()) {
      return then(Unavailable("collection '", name,
                              "' is not known here and the metadata service does not answer: ", MessageOf(refreshed)));
    }
    then(NoSuchCollection(name, table_->Get()->CollectionNames()));
  });
}

absl::StatusOr<std::shared_ptr<const OpenCollection>> Catalog::Known(std::string_view name) {
  const auto map = table_->Get();
  const routing::CollectionRoutes* routes = map->FindCollection(name);
  if (routes == nullptr) return nullptr;
  {
    std::shared_lock lock(mutex_);
    auto it = open_.find(routes->id);
    if (it != open_.end()) return it->second;
  }
  auto collection = std::make_shared<OpenCollection>();
  collection->id = routes->id;
  if (!routes->shard_key.empty()) {
    auto pattern = document::ShardKeyPattern::Parse(routes->shard_key);
    if (!pattern.ok())
      return Internal("collection '", name, "' has a shard key that can not be read: ", MessageOf(pattern.status()));
    collection->pattern = *std::move(pattern);
  }
  std::unique_lock lock(mutex_);
  return open_.emplace(routes->id, std::move(collection)).first->second;
}

}  // namespace terrane::proxy
