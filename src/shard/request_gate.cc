#include "shard/request_gate.h"

#include "common/status.h"
#include "document/key_encoding.h"
#include "shard/convert.h"

namespace terrane::shard {
namespace v1 = terrane::v1;

namespace {

absl::Status Answer(const Core& core, const Verdict& verdict) {
  if (verdict.serves()) return absl::OkStatus();
  if (verdict.kind == Verdict::Kind::kAhead && core.ask_metadata) core.ask_metadata();
  return ToStatus(verdict, core.shard);
}

}  // namespace

RequestRoute RouteOf(const v1::Route& route) {
  return {CollectionId(route.collection_id()), CopyId(route.copy_id()), Token(route.token())};
}

absl::StatusOr<KeyRange> RequestedRange(const v1::Route& route, const v1::KeyRange* range, std::string_view resume) {
  const KeyRange whole = FromProto(route.range());
  KeyRange result = range != nullptr ? FromProto(*range) : whole;
  if (!resume.empty()) {
    TERRANE_ASSIGN_OR_RETURN(const routing::ResumeKey from, DecodeResume(resume));
    if (from.shard_key > result.min) result.min = from.shard_key;
  }
  if (result.Empty() || !whole.Contains(result)) {
    return InvalidArgument("the range ", result.ToString(), " does not lie in that of the route, ", whole.ToString());
  }
  return result;
}

absl::Status CheckRange(const Core& core, const v1::Route& route, const KeyRange& range, bool write) {
  return Answer(core, core.applier->View()->Check(RouteOf(route), range, write));
}

absl::Status CheckKeys(const Core& core, const v1::Route& route, std::span<const std::string_view> keys, bool write) {
  const KeyRange whole = FromProto(route.range());
  const auto ownership = core.applier->View();
  for (std::string_view key : keys) {
    if (!whole.Contains(key))
      return InvalidArgument("a key does not lie in the range of the route, ", whole.ToString());
    TERRANE_RETURN_IF_ERROR(Answer(core, ownership->CheckKey(RouteOf(route), key, write)));
  }
  return absl::OkStatus();
}

KeyRange RangeOfKey(std::string_view shard_key) {
  return {std::string(shard_key), document::PrefixEnd(shard_key)};
}

absl::StatusOr<routing::ResumeKey> DecodeResume(std::string_view resume) {
  const auto key = routing::DecodeResume(resume);
  if (!key) return InvalidArgument("the resume key is damaged");
  return *key;
}

}  // namespace terrane::shard
