// What must be true of the metadata state, as sentences about what is not. Pure. The numbers are those of state.h.
#pragma once

#include <string>
#include <vector>

#include "terrane/v1/metadata_state.pb.h"

namespace terrane::metadata {

// M1, M3, M4, M5, M6 of one state; empty: all hold. O(chunks).
std::vector<std::string> CheckInvariants(const v1::MetadataState& state);

// M2, M5, M6 of what changed: `after` comes later than `before` in one history.
std::vector<std::string> CheckHistory(const v1::MetadataState& before, const v1::MetadataState& after);

}  // namespace terrane::metadata
