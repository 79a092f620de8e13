# Writes OUTPUT with the present commit of SOURCE_DIR; leaves the file alone if nothing changed, so nothing is rebuilt.
set(commit "unknown")
find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit "${head}")
    execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} diff --quiet HEAD -- RESULT_VARIABLE changed OUTPUT_QUIET ERROR_QUIET)
    if(changed)
      string(APPEND commit "+")
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT [[#include "common/version.h"

namespace terrane {

std::string VersionNumber() { return "@VERSION@"; }
std::string GitCommit() { return "@commit@"; }
std::string VersionLine(const std::string& program) {
  return program + " " + VersionNumber() + " (commit " + GitCommit() + ")";
}

}  // namespace terrane
]] @ONLY)
