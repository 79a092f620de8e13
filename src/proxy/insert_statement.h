// Insert: documents go to their chunks in groups, side by side.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "proxy/statement.h"
#include "terrane/v1/documents.pb.h"

namespace terrane::proxy {

// Request and response live until `done`, which is called once, in a callback or here. Errors of single documents are
// in the response. The call as a whole fails if it bears a RetryId and some document may go in when it is sent again
// (UNAVAILABLE, DEADLINE_EXCEEDED), or if every document failed for the same reason that is not its own.
void RunInsert(StatementContext context, const v1::InsertRequest& request, v1::InsertResponse* response,
               std::function<void(absl::Status)> done);

// The ObjectId of a document without `_id`: of a RetryId, so that the same statement sent again makes the same
// document.
std::string ObjectIdOf(const v1::RetryId& retry);

}  // namespace terrane::proxy
