// The admin CLI `terrane`: runs one command line.
#pragma once

#include <ostream>

namespace terrane::tools {

// Returns the exit code: 0, 1 for "could not", 2 for "you asked for something that does not exist or is spelt wrong".
// Results go to `out`, progress and errors to `err`.
int RunCli(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

}  // namespace terrane::tools
