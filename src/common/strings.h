// String building over std::string_view.
//
// Debian builds Abseil with a string_view type of its own, which neither converts to nor from std::string_view.
// Terrane speaks std::string_view everywhere; this file is the one bridge.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace terrane {

inline absl::string_view ToAbsl(std::string_view s) {
  return {s.data(), s.size()};
}
inline std::string_view FromAbsl(absl::string_view s) {
  return {s.data(), s.size()};
}

namespace strings_internal {
template <typename T>
decltype(auto) Piece(T&& value) {
  if constexpr (std::is_same_v<std::decay_t<T>, std::string_view>) {
    return ToAbsl(value);
  } else {
    return std::forward<T>(value);
  }
}
}  // namespace strings_internal

// absl::StrCat that also takes std::string_view.
template <typename... Args>
std::string StrCat(Args&&... args) {
  return absl::StrCat(strings_internal::Piece(std::forward<Args>(args))...);
}

template <typename... Args>
void StrAppend(std::string* dest, Args&&... args) {
  absl::StrAppend(dest, strings_internal::Piece(std::forward<Args>(args))...);
}

}  // namespace terrane
