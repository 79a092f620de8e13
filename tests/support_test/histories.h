// Histories to try the linearizability checker on: right ones, made by a real linearizable object, and a judge that
// tries every order.
#pragma once

#include <cstdint>

#include "support/history.h"

namespace terrane::testing {

struct Shape {
  Model model = Model::kRegister;
  int clients = 8;
  int operations = 1'000;
  double unknown = 0.03;  // of the changes: the answer is lost, half of them never take effect
  int64_t largest_addition = 1;
  int64_t longest_list = 200;  // then everybody only reads
};

// What clients saw who used one linearizable object with random delays: right by construction.
DocumentHistory RightHistory(const Shape& shape, uint64_t seed);

// A short history with random answers, right or wrong. At most 7 operations.
DocumentHistory RandomHistory(Model model, uint64_t seed);

// Tries every choice of unknown outcomes and every order.
bool LinearizableByTrying(const DocumentHistory& history);

}  // namespace terrane::testing
