#include "rpc/status.h"

#include <grpcpp/support/status.h>

#include "common/status.h"
#include "terrane/v1/rpc_status.pb.h"

namespace terrane::rpc {
namespace {

constexpr size_t kMaxMessageBytes = 4096;
constexpr size_t kMaxDetailBytes = 4096;

// Length of the UTF-8 character at the start of `s`; 0 if there is none.
size_t Utf8Length(std::string_view s) {
  const auto byte = [s](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  size_t length = first < 0x80                    ? 1
                  : first >= 0xC2 && first < 0xE0 ? 2
                  : first >= 0xE0 && first < 0xF0 ? 3
                  : first >= 0xF0 && first < 0xF5 ? 4
                                                  : 0;
  if (length == 0 || length > s.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (length > 2) {  // overlong forms, surrogates, beyond U+10FFFF
    const unsigned char second = byte(1);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second > 0x8F)) {
      return 0;
    }
  }
  return length;
}

std::string CleanMessage(std::string_view message) {
  std::string clean;
  clean.reserve(std::min(message.size(), kMaxMessageBytes));
  while (!message.empty() && clean.size() < kMaxMessageBytes) {
    const size_t length = Utf8Length(message);
    if (length == 0) {
      clean += '?';
      message.remove_prefix(1);
    } else {
      clean.append(message.substr(0, length));
      message.remove_prefix(length);
    }
  }
  if (!message.empty()) clean += " ..";
  return clean;
}

constexpr std::string_view kCannotConnect = "cannot connect";
constexpr std::string_view kNoAnswer = "no answer in time";
constexpr std::string_view kBroken = "the connection broke";

// gRPC's own words for people; empty: they stay.
std::string PlainWords(grpc::StatusCode code, std::string_view words) {
  if (code == grpc::StatusCode::DEADLINE_EXCEEDED && words == "Deadline Exceeded") return std::string(kNoAnswer);
  if (code != grpc::StatusCode::UNAVAILABLE) return "";
  if (words == "Socket closed" || words.find("Connection reset by peer") != std::string_view::npos ||
      words.find("Broken pipe") != std::string_view::npos || words == "Stream removed") {
    return std::string(kBroken);
  }
  // "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: what happened"
  if (!words.starts_with("failed to connect to all addresses")) return "";
  for (const auto& [theirs, ours] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"Connection refused", ": connection refused"},
           {"No route to host", ": no route to that host"},
           {"before receiving SETTINGS", ": it is silent"},
           {"handshaker shutdown", ": it is silent"},
           {"Timeout occurred", ": it is silent"},
           {"connect timed out", ": it is silent"}}) {
    if (words.find(theirs) != std::string_view::npos) return StrCat(kCannotConnect, ours);
  }
  constexpr std::string_view kLast = "last error: ";
  const size_t last = words.find(kLast);
  return last == std::string_view::npos ? std::string(kCannotConnect)
                                        : StrCat(kCannotConnect, ": ", words.substr(last + kLast.size()));
}

absl::string_view DetailUrl() {
  return ToAbsl(kErrorDetailUrl);
}

}  // namespace

absl::Status WithDetail(absl::Status status, const v1::ErrorDetail& detail) {
  if (!status.ok()) status.SetPayload(DetailUrl(), absl::Cord(detail.SerializeAsString()));
  return status;
}

absl::Status WithReason(absl::Status status, v1::ErrorDetail::Reason reason) {
  v1::ErrorDetail detail;
  detail.set_reason(reason);
  return WithDetail(std::move(status), detail);
}

std::optional<v1::ErrorDetail> DetailOf(const absl::Status& status) {
  auto payload = status.GetPayload(DetailUrl());
  if (!payload) return std::nullopt;
  v1::ErrorDetail detail;
  if (!detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

v1::ErrorDetail::Reason ReasonOf(const absl::Status& status) {
  auto detail = DetailOf(status);
  return detail ? detail->reason() : v1::ErrorDetail::UNKNOWN;
}

absl::Status NotLeader(std::string_view leader_endpoint) {
  v1::ErrorDetail detail;
  detail.set_reason(v1::ErrorDetail::NOT_LEADER);
  detail.set_leader_endpoint(std::string(leader_endpoint));
  return WithDetail(leader_endpoint.empty() ? Unavailable("not the leader; no leader is known")
                                            : Unavailable("not the leader; ask ", leader_endpoint),
                    detail);
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  std::string message = CleanMessage(MessageOf(status));
  auto detail = DetailOf(status);
  if (!detail) return grpc::Status(code, message);
  if (detail->ByteSizeLong() > kMaxDetailBytes) detail->mutable_route()->clear_range();
  v1::RpcStatus rich;
  rich.set_code(static_cast<int>(code));
  rich.set_message(message);
  auto* any = rich.add_details();
  any->set_type_url(std::string(kErrorDetailUrl));
  detail->SerializeToString(any->mutable_value());
  return grpc::Status(code, message, rich.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string plain = PlainWords(status.error_code(), status.error_message());
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()),
                      ToAbsl(plain.empty() ? status.error_message() : plain));
  v1::RpcStatus rich;
  if (status.error_details().empty() || !rich.ParseFromString(status.error_details())) return result;
  for (const auto& any : rich.details()) {
    if (any.type_url() == kErrorDetailUrl) result.SetPayload(DetailUrl(), absl::Cord(any.value()));
  }
  return result;
}

bool NothingWasSent(const absl::Status& status) {
  return MessageOf(status).starts_with(kCannotConnect);
}

bool NobodyAnswered(const absl::Status& status) {
  const std::string_view words = MessageOf(status);
  return NothingWasSent(status) || words == kNoAnswer || words == kBroken;
}

}  // namespace terrane::rpc
