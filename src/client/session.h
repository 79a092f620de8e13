// A session of the client: the identity under which its statements are retried. Internal to src/client.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "terrane/v1/common.pb.h"

namespace terrane::client {

// 16 bytes that nobody else has.
std::string RandomId();

// Thread-safe.
class Session {
 public:
  Session() : id_(RandomId()) {}
  // Takes `count` statement numbers; the answer names the first.
  terrane::v1::RetryId Take(int64_t count = 1) {
    terrane::v1::RetryId retry;
    retry.set_session(id_);
    retry.set_statement(next_.fetch_add(count, std::memory_order_relaxed));
    return retry;
  }

 private:
  const std::string id_;
  std::atomic<int64_t> next_{0};
};

}  // namespace terrane::client
