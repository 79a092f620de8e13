#include "metadata/collection_frontend.h"

#include <algorithm>
#include <set>

#include "common/random.h"
#include "common/status.h"
#include "common/suggest.h"
#include "document/shard_key.h"
#include "metadata/node.h"
#include "metadata/shard_reports.h"
#include "rpc/status.h"

namespace terrane::metadata {
namespace {

constexpr int kChunksPerShard = 4;
constexpr int kMaxChunks = 65536;
constexpr size_t kMaxNameBytes = 120;

absl::Status CheckName(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == name.size()) {
    return InvalidArgument("\"", name, "\" is no name of a collection; write database.collection");
  }
  if (name.size() > kMaxNameBytes) {
    return InvalidArgument("a collection's name has at most ", kMaxNameBytes, " bytes, this one has ", name.size());
  }
  for (unsigned char c : name) {
    if (c <= ' ' || c == '$' || c == '/' || c == '\\' || c == '"' || c == 0x7f) {
      return InvalidArgument("a collection's name must not hold spaces, control characters or any of $ / \\ \"");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SplitPoints(const v1::CreateCollectionRequest& request,
                                                     const document::ShardKeyPattern& pattern, size_t shards) {
  if (request.chunks() < 0 || request.chunks() > kMaxChunks) {
    return InvalidArgument("chunks must lie between 0 and ", kMaxChunks, ", not ", request.chunks());
  }
  if (request.split_points_size() > 0) {
    if (request.chunks() > 0) return InvalidArgument("give either chunks or split_points, not both");
    if (request.split_points_size() >= kMaxChunks) return InvalidArgument("more than ", kMaxChunks, " chunks");
    return std::vector<std::string>(request.split_points().begin(), request.split_points().end());
  }
  if (!pattern.hashed()) {
    if (request.chunks() > 1) {
      return InvalidArgument(
          "a shard key that does not begin hashed can not be cut in advance by a number of chunks; "
          "give split_points, or split chunks later");
    }
    return std::vector<std::string>();
  }
  const int chunks = request.chunks() > 0 ? request.chunks() : static_cast<int>(shards) * kChunksPerShard;
  return pattern.InitialSplitPoints(chunks);
}

}  // namespace

absl::Status NoSuchCollection(Node& node, const std::string& name) {
  std::vector<std::string> names;
  node.Read([&](const State& state) {
    for (const auto& [id, entry] : state.collections()) {
      if (entry.record.state() != v1::Collection::DROPPING) names.push_back(entry.record.name());
    }
  });
  return rpc::WithReason(NotFound("no collection ", name, DidYouMean(name, names)),
                         v1::ErrorDetail::NO_SUCH_COLLECTION);
}

absl::StatusOr<v1::CreateCollectionResponse> CreateCollection(Node& node, const v1::CreateCollectionRequest& request,
                                                              MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(CheckName(request.name()));
  document::ShardKeyPattern pattern;
  if (!request.shard_key().empty()) {
    auto parsed = document::ShardKeyPattern::Parse(request.shard_key());
    if (!parsed.ok()) return Annotate(parsed.status(), "shard_key");
    pattern = *std::move(parsed);
  }
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  v1::MetadataCommand command;
  command.set_request_id(request.request_id().empty() ? NewUniqueBytes() : request.request_id());
  auto* create = command.mutable_create_collection();
  create->set_name(request.name());
  create->set_shard_key(pattern.spec());
  node.Read([&](const State& state) {
    for (const auto& [name, shard] : state.shards()) create->add_shards(name);
  });
  if (create->shards().empty()) {
    return FailedPrecondition("no shard has registered yet; start one, or add one (terrane shard add)");
  }
  TERRANE_ASSIGN_OR_RETURN(std::vector<std::string> points, SplitPoints(request, pattern, create->shards_size()));
  for (std::string& point : points) create->add_split_points(std::move(point));
  TERRANE_ASSIGN_OR_RETURN(v1::CommandResult result, node.Commit(std::move(command), deadline));

  const CollectionId id(result.collection().id());
  v1::CreateCollectionResponse response;
  bool gone = false;
  const bool ready = node.machine().WaitUntil(deadline, [&](const State& state) {
    const auto* entry = state.FindCollection(id);
    gone = entry == nullptr || entry->record.state() == v1::Collection::DROPPING;
    if (gone || entry->record.state() != v1::Collection::READY) return gone;
    *response.mutable_collection() = entry->record;
    for (const auto& [min, chunk] : entry->chunks) *response.add_chunks() = chunk;
    return true;
  });
  if (gone) return Aborted("collection ", request.name(), " was dropped meanwhile");
  if (!ready) {
    return absl::DeadlineExceededError(
        StrCat("a shard has not confirmed its chunks of ", request.name(),
               " yet; the collection becomes usable as soon as it does (terrane status names the shard)"));
  }
  return response;
}

absl::Status DropCollection(Node& node, const v1::DropCollectionRequest& request, MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  v1::MetadataCommand command;
  command.set_request_id(request.request_id().empty() ? NewUniqueBytes() : request.request_id());
  command.mutable_drop_collection()->set_name(request.name());
  auto result = node.Commit(std::move(command), deadline);
  if (absl::IsNotFound(result.status())) return NoSuchCollection(node, request.name());
  TERRANE_RETURN_IF_ERROR(result.status());
  // Proxies with old routes are refused once the shards have dropped it. Committed is committed: a shard that is away
  // does so later.
  const MonotonicTime patience = node.clock()->Now() + std::chrono::seconds(5);
  const CollectionId id(result->collection().id());
  node.machine().WaitUntil(std::min(deadline, patience),
                           [id](const State& state) { return state.FindCollection(id) == nullptr; });
  return absl::OkStatus();
}

absl::StatusOr<v1::ListCollectionsResponse> ListCollections(Node& node, MonotonicTime deadline) {
  TERRANE_RETURN_IF_ERROR(node.Barrier(deadline));
  const MonotonicTime patience = node.clock()->Now() + std::chrono::seconds(2);
  const ShardReports reports = DescribeShards(node, std::min(deadline, patience));
  TERRANE_RETURN_IF_ERROR(NotCutOff(reports));
  struct Sum {
    int64_t documents = 0;
    int64_t bytes = 0;
  };
  std::map<uint32_t, Sum> sums;
  for (const auto& [name, report] : reports) {
    if (!report.ok()) continue;
    for (const auto& chunk : report->ownership().chunks()) {
      if (chunk.state() != v1::OwnedChunk::OWNED && chunk.state() != v1::OwnedChunk::WRITE_FENCED &&
          chunk.state() != v1::OwnedChunk::READ_FENCED) {
        continue;
      }
      Sum& sum = sums[chunk.collection_id()];
      sum.documents += chunk.digest().documents().count();
      sum.bytes += chunk.digest().documents().bytes();
    }
  }
  return node.Read([&](const State& state) {
    v1::ListCollectionsResponse response;
    for (const auto& [id, entry] : state.collections()) {
      if (entry.record.state() == v1::Collection::DROPPING) continue;
      auto* info = response.add_collections();
      *info->mutable_collection() = entry.record;
      info->set_chunks(static_cast<int64_t>(entry.chunks.size()));
      info->set_documents(sums[id].documents);
      info->set_bytes(sums[id].bytes);
      std::set<std::string> silent;
      for (const auto& [min, chunk] : entry.chunks) {
        const auto report = reports.find(chunk.shard());
        if (report != reports.end() && report->second.ok()) continue;
        info->set_unknown_chunks(info->unknown_chunks() + 1);
        silent.insert(chunk.shard());
      }
      info->mutable_silent_shards()->Add(silent.begin(), silent.end());
    }
    return response;
  });
}

}  // namespace terrane::metadata
