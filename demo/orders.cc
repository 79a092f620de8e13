#include "orders.h"

#include "common/strings.h"
#include "document/builder.h"

namespace terrane::demo {
namespace {

constexpr int64_t kCustomers = 50'000;
constexpr const char* kStates[] = {"new", "paid", "packed", "shipped", "returned"};

}  // namespace

uint32_t SealOf(int64_t n) {
  return static_cast<uint32_t>(static_cast<uint64_t>(n) * 2654435761u + 97);
}

std::string CustomerOf(int64_t n) {
  return StrCat("c-", (n * 7919) % kCustomers);
}

std::string GeneratedOrder(int64_t n) {
  const uint32_t seal = SealOf(n);
  document::ArrayBuilder lines;
  for (uint32_t line = 0; line < 1 + seal % 5; ++line) {
    const uint32_t sku = (seal >> line) % 10'000;
    lines.Add(document::Builder()
                  .Append("sku", StrCat("sku-", sku))
                  .Append("quantity", static_cast<int32_t>(1 + sku % 7))
                  .Append("price", 0.99 + sku % 200));
  }
  return document::Builder()
      .Append("_id", n)
      .Append("customer", CustomerOf(n))
      .Append("v", int64_t{0})
      .Append("seal", static_cast<int64_t>(seal))
      .Append("state", kStates[seal % 5])
      .Append("lines", lines)
      .Append("note", StrCat("order ", n, " of customer ", CustomerOf(n), ", generated for the demonstration"))
      .Finish();
}

}  // namespace terrane::demo
