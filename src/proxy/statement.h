// What all statements of the document API share.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "common/clock.h"
#include "common/random.h"
#include "proxy/catalog.h"
#include "proxy/routed_call.h"
#include "terrane/v1/common.pb.h"

namespace terrane::proxy {

// The proxy's own session: statements of requests that bear no RetryId, so that its internal retries have one effect.
// Thread-safe.
class ProxySession {
 public:
  ProxySession() : session_(Random(Random::SystemSeed()).Bytes(16)) {}
  v1::RetryId Take(int64_t statements) {
    v1::RetryId retry;
    retry.set_session(session_);
    retry.set_statement(next_.fetch_add(statements, std::memory_order_relaxed));
    return retry;
  }

 private:
  const std::string session_;
  std::atomic<int64_t> next_{0};
};

// Owned by the proxy, outlives its statements.
struct StatementEnvironment {
  const CallEnvironment* calls;
  Catalog* catalog;
  ProxySession* session;
  std::chrono::milliseconds default_deadline;
};

// Of one request.
struct StatementContext {
  const StatementEnvironment* environment;
  std::shared_ptr<const OpenCollection> collection;
  MonotonicTime deadline;
  const rpc::Call* caller;  // valid until it is answered

  CallScope Scope() const { return {collection->id, deadline, caller}; }
};

// kInvalidArgument: no session of 16 bytes, a negative statement.
absl::Status CheckRetryId(const v1::RetryId& retry);

}  // namespace terrane::proxy
