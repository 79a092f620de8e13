// Randomness as an input: whoever needs it gets a Random, whose seed decides everything that follows.
#pragma once

#include <cstdint>
#include <string>

namespace terrane {

// xoshiro256**. Not for secrets. Not thread-safe: one for each thread, or the caller's lock.
class Random {
 public:
  using result_type = uint64_t;  // also a UniformRandomBitGenerator, e.g. for std::shuffle

  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) word = SplitMix(&seed);
  }
  // A seed from the operating system.
  static uint64_t SystemSeed();

  uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }
  uint64_t operator()() { return Next(); }
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }

  // In [0, n); n > 0.
  uint64_t Below(uint64_t n) { return static_cast<uint64_t>((static_cast<unsigned __int128>(Next()) * n) >> 64); }
  // In [low, high], both inclusive; low <= high.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  // In [0, 1).
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  // True once in n times.
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  // n random bytes.
  std::string Bytes(size_t n);
  // A generator whose sequence does not depend on how this one is used afterwards.
  Random Fork() { return Random(Next()); }

 private:
  static uint64_t Rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  static uint64_t SplitMix(uint64_t* seed) {
    uint64_t z = (*seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state_[4];
};

// 16 random bytes for request and session ids: two of them never meet.
std::string NewUniqueBytes(Random& random);
// The same in hex, 32 characters: ids that people see.
std::string NewUniqueId(Random& random);
// From the operating system's randomness; thread-safe. For the edges; cores get a Random.
std::string NewUniqueBytes();
std::string NewUniqueId();

}  // namespace terrane
