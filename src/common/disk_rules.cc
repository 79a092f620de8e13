#include "common/disk_rules.h"

#include <algorithm>
#include <sstream>

#include "absl/strings/numbers.h"
#include "common/status.h"
#include "common/units.h"

namespace terrane {
namespace {

std::string_view NameOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// One line, word by word.
class LineParser {
 public:
  LineParser(std::string line, int number) : text_(std::move(line)), number_(number) {
    std::istringstream words(text_);
    for (std::string word; words >> word;) words_.push_back(word);
    std::reverse(words_.begin(), words_.end());
  }

  bool empty() const { return words_.empty(); }

  absl::StatusOr<DiskRule> Parse() {
    DiskRule rule;
    rule.text = text_;
    TERRANE_RETURN_IF_ERROR(ParseOperation(Take(), &rule));
    TERRANE_RETURN_IF_ERROR(ParseFiles(Take(), &rule));
    std::string word = Take();
    if (word == "from") {
      if (!absl::SimpleAtoi(Take(), &rule.from) || rule.from == 0) return Expected("a number from 1 behind `from`");
      word = Take();
    }
    if (word == "times") {
      uint64_t times = 0;
      if (!absl::SimpleAtoi(Take(), &times) || times == 0) return Expected("a number from 1 behind `times`");
      rule.times = times;
      word = Take();
    }
    TERRANE_RETURN_IF_ERROR(ParseAction(word, &rule));
    if (!words_.empty()) return Expected("nothing behind the action");
    return rule;
  }

 private:
  std::string Take() {
    if (words_.empty()) return "";
    std::string word = std::move(words_.back());
    words_.pop_back();
    return word;
  }

  absl::Status Expected(std::string_view what) const {
    return InvalidArgument("line ", number_, " of the disk rules (", text_, "): expected ", what);
  }

  absl::Status ParseOperation(const std::string& word, DiskRule* rule) const {
    if (word == "read") {
      rule->operation = DiskOperation::kRead;
    } else if (word == "write") {
      rule->operation = DiskOperation::kWrite;
    } else if (word == "sync") {
      rule->operation = DiskOperation::kSync;
    } else {
      return Expected("read, write or sync");
    }
    return absl::OkStatus();
  }

  absl::Status ParseFiles(const std::string& word, DiskRule* rule) const {
    if (word == "any") return absl::OkStatus();
    if (word == "log") {
      rule->files = DiskFiles::kLog;
    } else if (word == "wal") {
      rule->files = DiskFiles::kWal;
    } else if (word == "sst") {
      rule->files = DiskFiles::kSst;
    } else if (word == "manifest") {
      rule->files = DiskFiles::kManifest;
    } else if (word == "other") {
      rule->files = DiskFiles::kOther;
    } else {
      return Expected("log, wal, sst, manifest, other or any");
    }
    return absl::OkStatus();
  }

  absl::Status ParseAction(const std::string& word, DiskRule* rule) {
    if (word == "fail") {
      rule->action = DiskAction::kFail;
    } else if (word == "stall") {
      rule->action = DiskAction::kStall;
    } else if (word == "delay") {
      rule->action = DiskAction::kDelay;
      const auto delay = ParseDuration(Take());
      if (!delay.ok()) return Expected("a duration behind `delay`");
      rule->delay = *delay;
    } else if (word == "flip" && rule->operation == DiskOperation::kRead) {
      rule->action = DiskAction::kFlip;
    } else if (word == "full" && rule->operation == DiskOperation::kWrite) {
      rule->action = DiskAction::kFull;
      const auto room = ParseBytes(Take());
      if (!room.ok()) return Expected("a size behind `full`");
      rule->room = static_cast<uint64_t>(*room);
    } else {
      return Expected("fail, stall, delay D, flip (of reads) or full BYTES (of writes)");
    }
    return absl::OkStatus();
  }

  const std::string text_;
  const int number_;
  std::vector<std::string> words_;  // the next one last
};

}  // namespace

DiskFiles DiskFilesOf(std::string_view path) {
  const std::string_view name = NameOf(path);
  if (name.starts_with("segment-") && name.find(".log") != std::string_view::npos) return DiskFiles::kLog;
  if (name.ends_with(".log")) return DiskFiles::kWal;
  if (name.find(".sst") != std::string_view::npos) return DiskFiles::kSst;
  if (name.starts_with("MANIFEST-")) return DiskFiles::kManifest;
  return DiskFiles::kOther;
}

absl::StatusOr<std::vector<DiskRule>> ParseDiskRules(std::string_view text) {
  std::vector<DiskRule> rules;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    LineParser parser(line.substr(0, line.find('#')), ++number);
    if (parser.empty()) continue;
    TERRANE_ASSIGN_OR_RETURN(DiskRule rule, parser.Parse());
    rules.push_back(std::move(rule));
  }
  return rules;
}

DiskRules::DiskRules(std::vector<DiskRule> rules) : rules_(std::move(rules)), met_(rules_.size()) {
  for (const DiskRule& rule : rules_) room_.push_back(rule.room);
}

DiskVerdict DiskRules::Decide(DiskOperation operation, DiskFiles files, uint64_t grows) {
  DiskVerdict verdict;
  verdict.fits = grows;
  for (size_t i = 0; i < rules_.size(); ++i) {
    const DiskRule& rule = rules_[i];
    if (rule.operation != operation || (rule.files && *rule.files != files)) continue;
    const uint64_t number = ++met_[i];
    if (number < rule.from || (rule.times && number - rule.from >= *rule.times)) continue;
    switch (rule.action) {
      case DiskAction::kFail:
        verdict.fail = true;
        break;
      case DiskAction::kStall:
        verdict.stall = true;
        break;
      case DiskAction::kDelay:
        verdict.delay += rule.delay;
        break;
      case DiskAction::kFlip:
        verdict.flip = number * 2'654'435'761;  // anywhere, but always the same one
        break;
      case DiskAction::kFull: {
        const uint64_t fits = std::min(room_[i], grows);
        room_[i] -= fits;
        if (fits == grows) continue;
        verdict.full = true;
        verdict.fits = std::min(verdict.fits, fits);
        break;
      }
    }
    verdict.rules.push_back(i);
  }
  return verdict;
}

std::optional<uint64_t> DiskRules::Room() const {
  std::optional<uint64_t> room;
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (rules_[i].action == DiskAction::kFull && !rules_[i].files) room = std::min(room.value_or(room_[i]), room_[i]);
  }
  return room;
}

void FlipBit(char* data, size_t size, uint64_t bit) {
  const uint64_t at = bit % (uint64_t{size} * 8);
  data[at / 8] = static_cast<char>(data[at / 8] ^ (1 << at % 8));
}

}  // namespace terrane
