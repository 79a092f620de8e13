// The public Documents service. Handlers run in gRPC's callbacks and never block.
//
// Every write that is sent to a shard bears a RetryId, the client's or one of the proxy's own session; that is why
// routed_call.cc may repeat whatever it sends.
#pragma once

#include <memory>

#include "proxy/statement.h"

namespace grpc {
class Service;
}

namespace terrane::proxy {

// `environment` outlives it.
std::unique_ptr<grpc::Service> MakeDocumentService(const StatementEnvironment* environment);

}  // namespace terrane::proxy
