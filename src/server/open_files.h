// How many files a server may have open: connections, and tables of its store.
#pragma once

#include <string>

namespace terrane::server {

// Raises the process's soft limit to the hard one (shells and service managers set 1,024, for programs that use
// select()), and says in the log if that is little. Before anything reads the limit.
void RaiseOpenFileLimit(const std::string& program);

}  // namespace terrane::server
