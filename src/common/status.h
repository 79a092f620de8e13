// Errors: absl::Status between modules. The code tells the caller what to do next:
//   kUnavailable         try this very call again after a pause (nothing happened, or it may be repeated)
//   kAborted             the state moved on: look at it again, then decide
//   kFailedPrecondition  somebody has to change something first; do not retry
//   kInvalidArgument     the request is wrong in itself; the message names the field and what was expected
//   kNotFound / kAlreadyExists / kOutOfRange / kResourceExhausted / kDeadlineExceeded / kCancelled  as their names say
//   kDataLoss            bytes on disk or on the wire are damaged; the message names the file and the place
//   kInternal            a broken promise of our own code
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/strings.h"

namespace terrane {

// The message of a status as std::string_view; valid as long as the status.
inline std::string_view MessageOf(const absl::Status& status) {
  return FromAbsl(status.message());
}

// Makes a status of the code with StrCat(args...) as its message.
template <typename... Args>
absl::Status MakeStatus(absl::StatusCode code, Args&&... args) {
  return absl::Status(code, StrCat(std::forward<Args>(args)...));
}

template <typename... Args>
absl::Status InvalidArgument(Args&&... args) {
  return MakeStatus(absl::StatusCode::kInvalidArgument, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status NotFound(Args&&... args) {
  return MakeStatus(absl::StatusCode::kNotFound, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status FailedPrecondition(Args&&... args) {
  return MakeStatus(absl::StatusCode::kFailedPrecondition, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status Unavailable(Args&&... args) {
  return MakeStatus(absl::StatusCode::kUnavailable, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status Aborted(Args&&... args) {
  return MakeStatus(absl::StatusCode::kAborted, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status DataLoss(Args&&... args) {
  return MakeStatus(absl::StatusCode::kDataLoss, std::forward<Args>(args)...);
}
template <typename... Args>
absl::Status Internal(Args&&... args) {
  return MakeStatus(absl::StatusCode::kInternal, std::forward<Args>(args)...);
}

// Puts context in front of the message on the way up: "while opening range 17: <message>". OK stays OK. Keeps payloads.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace terrane

#define TERRANE_STATUS_CONCAT_INNER(a, b) a##b
#define TERRANE_STATUS_CONCAT(a, b) TERRANE_STATUS_CONCAT_INNER(a, b)

#define TERRANE_RETURN_IF_ERROR(expr)                                                      \
  do {                                                                                     \
    if (absl::Status terrane_status = (expr); !terrane_status.ok()) return terrane_status; \
  } while (false)

#define TERRANE_ASSIGN_OR_RETURN(lhs, expr) \
  TERRANE_ASSIGN_OR_RETURN_IMPL(TERRANE_STATUS_CONCAT(terrane_or_, __LINE__), lhs, expr)
#define TERRANE_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                                  \
  if (!var.ok()) return std::move(var).status();      \
  lhs = *std::move(var)
