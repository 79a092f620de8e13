// Structured logs: one line per event, key=value pairs.
//
//   LogInfo("shard", "fence applied", {{"migration", 7}, {"position", position}});
//   time=2026-01-31T12:00:00.123Z level=info pid=17 thread=21 component=shard msg="fence applied" migration=7
//   position=912
//
// Log once, where a decision is made, with ids and the reason. All functions are thread-safe; a line is one write. A
// line may block for as long as the file system does, so apply threads log nothing per entry.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/strong_id.h"

namespace terrane {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// "debug", "info", "warn", "error", "off".
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name);

// One key=value pair. Made in place; text that it is made of must live until the end of the full expression.
class LogField {
 public:
  LogField(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  LogField(std::string_view key, const std::string& value) : key_(key), value_(std::string_view(value)) {}
  LogField(std::string_view key, const char* value) : key_(key), value_(std::string_view(value)) {}
  LogField(std::string_view key, bool value) : key_(key), value_(value) {}
  LogField(std::string_view key, double value) : key_(key), value_(value) {}
  template <std::signed_integral T>
  LogField(std::string_view key, T value) : key_(key), value_(static_cast<int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) LogField(std::string_view key, T value)
      : key_(key), value_(static_cast<uint64_t>(value)) {}
  template <typename Tag, typename Rep>
  LogField(std::string_view key, StrongId<Tag, Rep> id) : key_(key), value_(static_cast<uint64_t>(id.value())) {}
  // "ok", or the code and the message.
  LogField(std::string_view key, const absl::Status& status);

  // Appends ` key=value`, the value quoted if it holds anything but letters, digits and -_.:/,@+[]()
  void AppendTo(std::string* line) const;

 private:
  std::string_view key_;
  std::variant<bool, int64_t, uint64_t, double, std::string_view, std::string> value_;
};

using LogFields = std::initializer_list<LogField>;

// Where lines go from now on. `file` empty: standard error. A file is appended to, and turned over at 64 MiB (file.1 ..
// file.3 are kept). Call once, at the start; before it, lines from kInfo up go to standard error.
// Errors: the file cannot be opened.
absl::Status StartLogging(LogLevel level, const std::string& file);

// Whether a line of the level would be written: guards fields that are expensive to make.
bool LogEnabled(LogLevel level);

void Log(LogLevel level, std::string_view component, std::string_view message, LogFields fields = {});

inline void LogDebug(std::string_view component, std::string_view message, LogFields fields = {}) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, component, message, fields);
}
inline void LogInfo(std::string_view component, std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kInfo, component, message, fields);
}
inline void LogWarn(std::string_view component, std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kWarn, component, message, fields);
}
inline void LogError(std::string_view component, std::string_view message, LogFields fields = {}) {
  Log(LogLevel::kError, component, message, fields);
}

// Writes out what is buffered (errors are written out at once, everything else within a second).
void FlushLogs();

}  // namespace terrane
