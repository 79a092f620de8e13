// Latencies and sizes, counted into buckets of about 3 % width: constant memory, any number of threads.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace terrane {

// Thread-safe and lock-free. A percentile read while others record is that of some recent moment.
class Histogram {
 public:
  void Record(uint64_t value) {
    buckets_[BucketOf(value)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
    uint64_t seen = max_.load(std::memory_order_relaxed);
    while (value > seen && !max_.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
  }

  uint64_t Count() const {
    uint64_t n = 0;
    for (const auto& bucket : buckets_) n += bucket.load(std::memory_order_relaxed);
    return n;
  }
  uint64_t Sum() const { return sum_.load(std::memory_order_relaxed); }
  uint64_t Max() const { return max_.load(std::memory_order_relaxed); }

  // The least value that at least fraction p of the recorded ones do not exceed, up to a bucket's width (never more
  // than Max()); 0 if nothing was recorded. 0 < p <= 1.
  uint64_t Percentile(double p) const {
    const uint64_t n = Count();
    if (n == 0) return 0;
    uint64_t wanted = static_cast<uint64_t>(p * static_cast<double>(n) + 0.999999);
    if (wanted < 1) wanted = 1;
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i].load(std::memory_order_relaxed);
      if (seen >= wanted) return UpperEdge(i) < Max() ? UpperEdge(i) : Max();
    }
    return Max();
  }

  // Adds what `other` holds.
  void Merge(const Histogram& other) {
    for (size_t i = 0; i < buckets_.size(); ++i) {
      const uint64_t n = other.buckets_[i].load(std::memory_order_relaxed);
      if (n != 0) buckets_[i].fetch_add(n, std::memory_order_relaxed);
    }
    sum_.fetch_add(other.Sum(), std::memory_order_relaxed);
    const uint64_t theirs = other.Max();
    uint64_t seen = max_.load(std::memory_order_relaxed);
    while (theirs > seen && !max_.compare_exchange_weak(seen, theirs, std::memory_order_relaxed)) {
    }
  }

  void Reset() {
    for (auto& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
    sum_.store(0, std::memory_order_relaxed);
    max_.store(0, std::memory_order_relaxed);
  }

 private:
  // Values below 32 have a bucket each; above, each power of two has 32.
  static constexpr int kSubBits = 5;
  static constexpr size_t kSub = 1 << kSubBits;
  static constexpr size_t kBuckets = (64 - kSubBits + 1) * kSub;

  static size_t BucketOf(uint64_t value) {
    if (value < kSub) return value;
    const int shift = std::bit_width(value) - kSubBits - 1;
    return (static_cast<size_t>(shift) + 1) * kSub + ((value >> shift) - kSub);
  }
  static uint64_t UpperEdge(size_t bucket) {
    if (bucket < kSub) return bucket;
    const int shift = static_cast<int>(bucket / kSub) - 1;
    return ((kSub + bucket % kSub + 1) << shift) - 1;
  }

  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> max_{0};
};

}  // namespace terrane
