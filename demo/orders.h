// The generated orders collection: document n is the same in every run, so that a reader can tell whether it is whole.
#pragma once

#include <cstdint>
#include <string>

namespace terrane::demo {

// _id of a generated order is n; `customer` is its shard key; `v` is what clients set (0 at first); `seal` proves n.
std::string GeneratedOrder(int64_t n);
// The customer of a generated order.
std::string CustomerOf(int64_t n);
uint32_t SealOf(int64_t n);

}  // namespace terrane::demo
