// A find as a stream that is taken up again behind the last document when it breaks. Internal to src/client.
#pragma once

#include <memory>

#include "client/caller.h"

namespace terrane::client {

std::unique_ptr<Cursor> OpenCursor(Caller* caller, std::string_view collection, FindOptions options);

}  // namespace terrane::client
