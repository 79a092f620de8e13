// What several clients did to one document, in real time: what the checkers judge.
//
// Three models of a document:
//   register  write v / read / compare-and-set; every written value is written once and is not the initial one
//   counter   add d (d > 0) / read
//   list      push e / read of the whole list; every element is pushed once
// An operation whose outcome is unknown (time-out, lost connection) has no `returned`: it may take effect at any time
// after its invocation, or never. A read without an answer is left out. So is what was refused for certain.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace terrane::testing {

enum class Model { kRegister, kCounter, kList };
std::string_view ModelName(Model model);

struct Operation {
  enum class Type { kRead, kWrite, kCompareAndSet, kAdd, kPush };
  // `returned` of an unknown outcome.
  static constexpr std::chrono::nanoseconds kNever = std::chrono::nanoseconds::max();

  Type type = Type::kRead;
  int client = 0;
  int64_t value = 0;                    // written, added or pushed; read from a register or counter
  int64_t expected = 0;                 // kCompareAndSet
  bool applied = true;                  // kCompareAndSet with a known outcome: the value was the expected one
  std::vector<int64_t> list;            // read from a list
  std::chrono::nanoseconds invoked{0};  // of one steady clock for all clients
  std::chrono::nanoseconds returned{0};

  bool unknown() const { return returned == kNever; }
};

// "write 17", "read -> 16", "compare 16 and set 17 -> it was another"
std::string Describe(const Operation& operation, Model model);

struct DocumentHistory {
  std::string name;
  Model model = Model::kRegister;
  int64_t initial = 0;                // of a register or counter; a list begins empty
  std::vector<Operation> operations;  // in any order
};

}  // namespace terrane::testing
