// Helpers of the command groups.
#include "absl/strings/str_join.h"
#include "common/suggest.h"
#include "common/units.h"
#include "document/extended_json.h"
#include "rpc/status.h"
#include "tools/cli_command.h"

namespace terrane::tools {

absl::StatusOr<std::string> ParseQuery(std::string_view json) {
  if (json.empty()) return std::string();
  return document::DocumentFromJson(json, document::JsonMode::kQuery);
}

absl::Status Explain(client::Client& client, const absl::Status& status, std::string_view collection,
                     std::string_view shard) {
  const v1::ErrorDetail::Reason reason = rpc::ReasonOf(status);
  if (reason == v1::ErrorDetail::NO_SUCH_COLLECTION && !collection.empty()) {
    absl::StatusOr<v1::ListCollectionsResponse> list = client.ListCollections();
    if (!list.ok()) return status;
    std::vector<std::string> names;
    for (const v1::CollectionInfo& info : list->collections()) names.push_back(info.collection().name());
    std::string mean = DidYouMean(collection, names);
    if (mean.empty()) {
      mean = names.empty() ? StrCat(". Make it: terrane collection create ", collection)
                           : ". Collections: " + absl::StrJoin(names, ", ");
    }
    return NotFound("no collection ", collection, mean);
  }
  if (reason == v1::ErrorDetail::NO_SUCH_SHARD && !shard.empty()) {
    absl::StatusOr<v1::ListShardsResponse> list = client.ListShards();
    if (!list.ok()) return status;
    std::vector<std::string> names;
    for (const v1::Shard& one : list->shards()) names.push_back(one.name());
    return NotFound("no shard ", shard, ". Shards: ", absl::StrJoin(names, ", "));
  }
  return status;
}

absl::StatusOr<v1::CollectionInfo> FindCollection(Cli& cli, client::Client& client, std::string_view name) {
  TERRANE_ASSIGN_OR_RETURN(v1::ListCollectionsResponse list, client.ListCollections(cli.Call()));
  for (const v1::CollectionInfo& info : list.collections()) {
    if (info.collection().name() == name) return info;
  }
  return Explain(client, rpc::WithReason(NotFound("no collection ", name), v1::ErrorDetail::NO_SUCH_COLLECTION), name);
}

absl::StatusOr<document::ShardKeyPattern> PatternOf(const v1::Collection& collection) {
  if (collection.shard_key().empty()) return document::ShardKeyPattern();
  return document::ShardKeyPattern::Parse(collection.shard_key());
}

std::string DescribeRange(const v1::KeyRange& range, const document::ShardKeyPattern& pattern) {
  KeyRange plain;
  plain.min = range.min();
  if (!range.unbounded()) plain.max = range.max();
  if (pattern.hashed()) return plain.ToString();
  return StrCat("[", plain.min.empty() ? "-inf" : pattern.DescribeKey(plain.min), ", ",
                plain.max ? pattern.DescribeKey(*plain.max) : "+inf", ")");
}

std::optional<std::chrono::seconds> SilenceOf(const v1::Shard& shard) {
  if (!shard.leader_endpoint().empty()) return std::nullopt;
  for (const v1::ReplicaStatus& replica : shard.statistics().replicas()) {
    if (replica.leader()) return std::chrono::seconds(replica.silent_ms() / 1000);
  }
  return std::nullopt;
}

std::string NoLeader(const v1::Shard& shard) {
  const auto silence = SilenceOf(shard);
  return silence ? StrCat("no leader; last report ", silence->count(), " s ago") : "no leader";
}

}  // namespace terrane::tools
