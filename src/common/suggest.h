// "Did you mean shop.orders?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace terrane {

// The candidate that is closest to `word` if it is close at all, else "".
std::string Closest(std::string_view word, const std::vector<std::string>& candidates);

// ". Did you mean X?", or "" if nothing is close.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace terrane
