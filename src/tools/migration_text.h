// A move in sentences. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "terrane/v1/cluster.pb.h"

namespace terrane::tools {

bool HasEnded(const terrane::v1::Migration& migration);
// "catching up"
std::string StageName(terrane::v1::Migration::Stage stage);

// "copying      [####----]  66 MB   118 MB/s   full speed": what it does right now, on one line.
std::string ProgressText(const terrane::v1::ShowMigrationResponse& response);
// "writes held 6.1 ms", "writes held at most 1.5 s" of an upper bound, "writes held: not measured" of 0.
std::string PauseText(std::string_view what, double ms, bool bound);
// What was measured, and what ended: lines for a move that has ended.
std::vector<std::string> ResultLines(const terrane::v1::ShowMigrationResponse& response);
// "move 9  shop.orders [40.., 7f..)  s2 -> s1   catching up for 12 s" and what is to be said about it. `range` is for
// people; `now_ms` is wall time.
std::vector<std::string> ShowLines(const terrane::v1::ShowMigrationResponse& response, const std::string& range,
                                   int64_t now_ms);

}  // namespace terrane::tools
