// What this binary is. In a library of its own (`version`), made anew when the commit changes.
#pragma once

#include <string>

namespace terrane {

// "0.1.0"
std::string VersionNumber();
// Of the working tree at build time, 12 hex digits, with "+" behind it if something was changed; "unknown" without git.
std::string GitCommit();
// "terrane-shard 0.1.0 (commit 0123456789ab)": for --version.
std::string VersionLine(const std::string& program);

}  // namespace terrane
