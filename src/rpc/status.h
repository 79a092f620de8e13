// Errors on the wire: absl::Status <-> grpc::Status, with a terrane.v1.ErrorDetail that says precisely what happened.
//
// Inside of a process the detail is a payload of the absl::Status; on the wire it is in `grpc-status-details-bin`, in
// the form of google.rpc.Status. Pure, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "terrane/v1/common.pb.h"

namespace grpc {
class Status;
}

namespace terrane::rpc {

inline constexpr std::string_view kErrorDetailUrl = "type.googleapis.com/terrane.v1.ErrorDetail";

// The status with the detail as its payload (replacing one that is there). OK stays without.
absl::Status WithDetail(absl::Status status, const v1::ErrorDetail& detail);
// Short form for details that are a reason alone.
absl::Status WithReason(absl::Status status, v1::ErrorDetail::Reason reason);

std::optional<v1::ErrorDetail> DetailOf(const absl::Status& status);
// UNKNOWN if there is no detail.
v1::ErrorDetail::Reason ReasonOf(const absl::Status& status);

// UNAVAILABLE with NOT_LEADER; `leader_endpoint` may be empty.
absl::Status NotLeader(std::string_view leader_endpoint);

// Messages are cut to 4 KiB and made valid UTF-8; the range of a detail's route goes if the detail is over 4 KiB (keys
// may be long; trailers may not).
grpc::Status ToGrpc(const absl::Status& status);
// What gRPC itself says when nobody answers is put in plain words ("cannot connect: connection refused", "no answer in
// time"), to be annotated with whom it is about.
absl::Status FromGrpc(const grpc::Status& status);
// The status is of the connection, in those words: the one who was asked has not answered.
bool NobodyAnswered(const absl::Status& status);
// Nor has it heard the question: there was no connection to send it on.
bool NothingWasSent(const absl::Status& status);

}  // namespace terrane::rpc
