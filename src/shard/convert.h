// Between wire records and the types of this library. Pure.
#pragma once

#include "common/ids.h"
#include "common/key_range.h"
#include "shard/ownership.h"
#include "storage/digest.h"
#include "terrane/v1/common.pb.h"
#include "terrane/v1/shard_log.pb.h"

namespace terrane::shard {

KeyRange FromProto(const terrane::v1::KeyRange& range);
terrane::v1::KeyRange ToProto(const KeyRange& range);

MoveRef FromProto(const terrane::v1::MoveRef& move);
terrane::v1::MoveRef ToProto(const MoveRef& move);

OwnedChunk FromProto(const terrane::v1::OwnedChunk& chunk);
terrane::v1::OwnedChunk ToProto(const OwnedChunk& chunk);

}  // namespace terrane::shard
