#include "tools/migration_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "common/key_range.h"
#include "common/strings.h"
#include "common/units.h"
#include "tools/plural.h"
#include "tools/progress.h"

namespace terrane::tools {
namespace {

using v1::Migration;

std::string Label(const std::string& label) {
  return absl::StrFormat("  %-12s ", label);
}

std::string DigestText(const Migration& m) {
  const v1::Digest& source = m.figures().source_digest().documents();
  const v1::Digest& target = m.figures().target_digest().documents();
  return StrCat(Plural(source.count(), "document"), " on the source, ", FormatCount(target.count()),
                " on the target, sums ",
                source.high() == target.high() && source.low() == target.low() ? "equal" : "DIFFERENT");
}

void AddAttempts(const Migration& m, std::vector<std::string>* lines) {
  for (const v1::AttemptRecord& attempt : m.attempts()) {
    lines->push_back(StrCat(Label("attempt " + std::to_string(attempt.attempt())), "ended after ",
                            FormatMillis(static_cast<double>(attempt.lasted_ms())), ": ", attempt.why()));
  }
}

void AddDamage(const Migration& m, std::vector<std::string>* lines) {
  if (m.figures().repaired_ranges() == 0 && m.figures().damaged().empty()) return;
  std::string text =
      StrCat(Label("mended"), Plural(m.figures().repaired_ranges(), "range"), " differed on the target and ",
             m.figures().repaired_ranges() == 1 ? "was" : "were", " copied again");
  for (const v1::KeyRange& range : m.figures().damaged()) {
    KeyRange plain;
    plain.min = range.min();
    if (!range.unbounded()) plain.max = range.max();
    StrAppend(&text, " ", plain.ToString());
  }
  lines->push_back(text);
}

}  // namespace

bool HasEnded(const Migration& m) {
  return m.stage() == Migration::DONE || m.stage() == Migration::ABORTED || m.stage() == Migration::ROLLED_BACK;
}

// It is not committed, and nobody has asked for its end yet.
static bool MayAbort(const Migration& m) {
  switch (m.stage()) {
    case Migration::PLANNED:
    case Migration::PREPARING:
    case Migration::COPYING:
    case Migration::CATCHING_UP:
    case Migration::VERIFYING:
    case Migration::FENCING:
      return !m.abort_requested();
    default:
      return false;
  }
}

std::string StageName(Migration::Stage stage) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(Migration::Stage_Name(stage)), {{"_", " "}});
}

std::string ProgressText(const v1::ShowMigrationResponse& response) {
  const Migration& m = response.migration();
  const v1::MigrationProgress& p = response.progress();
  std::string text = Label(StageName(m.stage()));
  switch (m.stage()) {
    case Migration::COPYING: {
      const double fraction = p.bytes_total() > 0 ? static_cast<double>(p.bytes_copied()) / p.bytes_total() : 0;
      StrAppend(&text, ProgressBar(std::min(fraction, 1.0)), "  ", FormatBytes(p.bytes_copied()), "   ",
                absl::StrFormat("%.0f MB/s", p.mb_per_s()), p.pace().empty() ? "" : "   " + p.pace());
      break;
    }
    case Migration::CATCHING_UP: {
      const uint64_t behind = p.source_applied() > p.cursor() ? p.source_applied() - p.cursor() : 0;
      StrAppend(&text, FormatCount(static_cast<int64_t>(behind)), " entries behind");
      break;
    }
    case Migration::VERIFYING:
      StrAppend(&text, FormatBytes(p.verified_bytes()), " compared");
      break;
    case Migration::FENCING:
      StrAppend(&text, "attempt ", m.attempt());
      break;
    default:
      break;
  }
  for (const std::string& why : {m.stage() == Migration::COPYING ? "" : p.pace(), m.reason()}) {
    if (!why.empty()) StrAppend(&text, text.ends_with(' ') ? "" : "   ", why);
  }
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string PauseText(std::string_view what, double ms, bool bound) {
  if (ms <= 0) return StrCat(what, ": not measured");
  return StrCat(what, bound ? " at most " : " ", FormatMillis(ms));
}

std::vector<std::string> ResultLines(const v1::ShowMigrationResponse& response) {
  const Migration& m = response.migration();
  const v1::MigrationFigures& f = m.figures();
  std::vector<std::string> lines;
  const double seconds_ms = static_cast<double>(m.finished_ms() - m.created_ms());
  AddAttempts(m, &lines);
  AddDamage(m, &lines);
  if (m.stage() == Migration::DONE) {
    lines.push_back(StrCat(Label("copied"), Plural(f.documents(), "document"), ", ", FormatBytes(f.bytes()),
                           f.copy_mb_per_s() >= 0.5 ? absl::StrFormat(" at %.0f MB/s", f.copy_mb_per_s()) : ""));
    lines.push_back(StrCat(Label("verified"), DigestText(m)));
    lines.push_back(
        StrCat(Label("switch"), PauseText("writes held", f.write_pause_ms(), f.pauses_are_bounds()),
               f.predicted_pause_ms() > 0 ? " (predicted " + FormatMillis(f.predicted_pause_ms()) + ")" : "", ", ",
               PauseText("reads", f.read_pause_ms(), f.pauses_are_bounds()),
               f.pauses_are_bounds() ? "; the metadata service changed its leader meanwhile" : ""));
    lines.push_back("done in " + FormatMillis(seconds_ms));
  } else {
    lines.push_back(StrCat(StageName(m.stage()), " after ", FormatMillis(seconds_ms),
                           m.reason().empty() ? "" : ": " + m.reason(), ". ",
                           response.collection().empty() ? "The collection is dropped, and the documents with it"
                                                         : m.source() + " owns the chunk as before; nothing was lost"));
  }
  return lines;
}

std::vector<std::string> ShowLines(const v1::ShowMigrationResponse& response, const std::string& range,
                                   int64_t now_ms) {
  const Migration& m = response.migration();
  std::vector<std::string> lines;
  const bool ended = HasEnded(m);
  const double since = static_cast<double>(std::max<int64_t>(0, now_ms - m.stage_since_ms()));
  lines.push_back(StrCat("move ", m.id(), "  ",
                         response.collection().empty() ? "(dropped collection)" : response.collection(), " ", range,
                         "  ", m.source(), " -> ", m.target(), "   ", StageName(m.stage()),
                         ended || m.stage_since_ms() == 0 ? "" : " for " + FormatMillis(since)));
  if (ended) {
    for (std::string& line : ResultLines(response)) lines.push_back(std::move(line));
    return lines;
  }
  lines.push_back(ProgressText(response));
  if (m.abort_requested()) lines.push_back(Label("abort") + "asked for; it ends as soon as that is safe");
  AddAttempts(m, &lines);
  AddDamage(m, &lines);
  lines.push_back(StrCat(Label("what to do"), "wait (terrane migration watch ", m.id(), ")",
                         MayAbort(m) ? StrCat(", or terrane migration abort ", m.id()) : ""));
  return lines;
}

}  // namespace terrane::tools
