// What Find and FindOne share: what their requests mean, and the tokens by which their walks go on.
#pragma once

#include <chrono>
#include <deque>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "proxy/page_walk.h"
#include "proxy/router.h"
#include "proxy/statement.h"
#include "terrane/v1/documents.pb.h"

namespace terrane::proxy {

// A search that finds nothing for so long shows that it is alive.
inline constexpr std::chrono::seconds kSignOfLife{1};

struct FindPlan {
  FilterPlan keys;
  // BSON, for walks: what lies in a range of keys may be more than the one document that a full key names, of which
  // `keys.filter` says nothing.
  std::string filter;
  std::string projection;  // BSON; empty: whole documents
};

// kInvalidArgument with BAD_FILTER: no filter or projection that we know; a read mode that we do not know.
absl::StatusOr<FindPlan> PlanFind(const OpenCollection& collection, v1::DocumentFormat format,
                                  const std::string& filter, const std::string& projection,
                                  const v1::ReadOptions& read);
template <typename Request>
absl::StatusOr<FindPlan> PlanFind(const OpenCollection& collection, const Request& request) {
  return PlanFind(collection, request.format(), request.filter(), request.projection(), request.read());
}

// Where a walk that has these pieces left goes on; opaque to clients, valid over moves and splits.
std::string ResumeTokenOf(CollectionId collection, const std::deque<WalkPiece>& pieces);
// Takes away what lies in front of the token. kInvalidArgument: it is none, or another collection's.
absl::Status ResumeWalk(const std::string& token, CollectionId collection, std::deque<WalkPiece>* pieces);

// A document of a shard as the client wants it.
std::string InFormat(v1::DocumentFormat format, std::string document);

}  // namespace terrane::proxy
