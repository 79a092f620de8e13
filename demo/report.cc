#include "report.h"

#include <fstream>

#include "absl/strings/str_format.h"
#include "common/status.h"
#include "common/units.h"
#include "document/builder.h"
#include "document/extended_json.h"

namespace terrane::demo {
namespace {

document::Builder ToDocument(const Percentiles& percentiles, bool with_max) {
  document::Builder builder;
  builder.Append("p50", percentiles.p50).Append("p99", percentiles.p99);
  if (with_max) builder.Append("max", percentiles.max);
  return builder;
}

}  // namespace

std::string ToJson(const Report& report) {
  document::ArrayBuilder examples;
  for (const std::string& example : report.examples) examples.Add(example);
  const std::string document = document::Builder()
                                   .Append("documents", report.documents)
                                   .Append("moves", report.moves)
                                   .Append("acknowledged_writes", report.acknowledged_writes)
                                   .Append("reads", report.reads)
                                   .Append("lost", report.lost)
                                   .Append("duplicated", report.duplicated)
                                   .Append("wrong", report.wrong)
                                   .Append("client_errors", report.client_errors)
                                   .Append("pause_ms", document::Builder()
                                                           .Append("write", ToDocument(report.write_pause_ms, true))
                                                           .Append("read", ToDocument(report.read_pause_ms, true))
                                                           .Append("switch", ToDocument(report.switch_write_ms, true)))
                                   .Append("copy_mb_per_s", report.copy_mb_per_s)
                                   .Append("foreground_ms", document::Builder()
                                                                .Append("idle", ToDocument(report.idle_ms, false))
                                                                .Append("moving", ToDocument(report.moving_ms, false)))
                                   .Append("digests_compared", report.digests_compared)
                                   .Append("attempts_ended", report.attempts_ended)
                                   .Append("retries", report.retries)
                                   .Append("check_findings", report.check_findings)
                                   .Append("wall_seconds", report.wall_seconds)
                                   .Append("commit", report.commit)
                                   .Append("examples", examples)
                                   .Finish();
  return document::ToRelaxedJson(document);
}

std::string ForPeople(const Report& report) {
  std::string text = absl::StrFormat(
      "\n%d chunks moved under %s acknowledged writes and %s reads of %s documents\n"
      "  lost %d · duplicated %d · wrong %d · errors seen by clients %d\n"
      "  pause for writes   p50 %.1f ms   p99 %.1f ms   longest %.1f ms   (longest write to a moving chunk, per move)\n"
      "  pause for reads    p50 %.1f ms   p99 %.1f ms   longest %.1f ms\n"
      "  fence to commit    p50 %.1f ms   p99 %.1f ms   longest %.1f ms\n"
      "  foreground p99     %.1f ms without moves, %.1f ms with\n"
      "  copied at          %.0f MB/s\n"
      "  proofs             %d of %d digests equal inside the fence; %d fences given up\n"
      "  retries            %d requests were sent again or held inside, so that no client saw it\n",
      report.moves, FormatCount(report.acknowledged_writes), FormatCount(report.reads), FormatCount(report.documents),
      report.lost, report.duplicated, report.wrong, report.client_errors, report.write_pause_ms.p50,
      report.write_pause_ms.p99, report.write_pause_ms.max, report.read_pause_ms.p50, report.read_pause_ms.p99,
      report.read_pause_ms.max, report.switch_write_ms.p50, report.switch_write_ms.p99, report.switch_write_ms.max,
      report.idle_ms.p99, report.moving_ms.p99, report.copy_mb_per_s, report.digests_compared, report.moves,
      report.attempts_ended, report.retries);
  for (const std::string& example : report.examples) StrAppend(&text, "  ! ", example, "\n");
  return text;
}

absl::Status WriteReport(const Report& report, const std::string& path) {
  std::ofstream file(path, std::ios::trunc);
  file << ToJson(report) << "\n";
  file.close();
  return file ? absl::OkStatus() : DataLoss("writing ", path, " failed");
}

}  // namespace terrane::demo
