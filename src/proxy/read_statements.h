// Find, find one and count. Includes gRPC.
#pragma once

#include <functional>
#include <memory>

#include "proxy/statement.h"
#include "rpc/stream.h"
#include "terrane/v1/documents.pb.h"

namespace terrane::proxy {

using FindStream = rpc::ServerStream<v1::FindResponse>;

// Finishes the stream. At most two pages are in memory: the next one is asked for while one is on its way to the
// client. `context.deadline` is that of the first page if the client gave none; each further one has as much time
// again.
void RunFind(StatementContext context, const v1::FindRequest& request, std::shared_ptr<FindStream> stream);

// Request and response live until `done`. A search in steps is answered after a second; `context.deadline` is that of
// the whole search otherwise.
void RunFindOne(StatementContext context, const v1::FindOneRequest& request, v1::FindOneResponse* response,
                std::function<void(absl::Status)> done);

// Request and response live until `done`.
void RunCount(StatementContext context, const v1::CountRequest& request, v1::CountResponse* response,
              std::function<void(absl::Status)> done);

}  // namespace terrane::proxy
