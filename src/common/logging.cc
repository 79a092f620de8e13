#include "common/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "common/status.h"

namespace terrane {
namespace {

constexpr size_t kFileBytes = 64 << 20;
constexpr size_t kOldFiles = 3;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

std::shared_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink, LogLevel level) {
  auto logger = std::make_shared<spdlog::logger>("terrane", std::move(sink));
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      "time=%Y-%m-%dT%H:%M:%S.%eZ level=%l pid=%P thread=%t %v", spdlog::pattern_time_type::utc));
  logger->set_level(ToSpdlog(level));
  logger->flush_on(spdlog::level::err);
  return logger;
}

// Never freed: threads of libraries may log until the very end of the process.
std::shared_ptr<spdlog::logger>& Logger() {
  static auto* logger = new std::shared_ptr<spdlog::logger>(
      MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>(), LogLevel::kInfo));
  return *logger;
}

bool Plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-_.:/,@+[]()").find(c) != std::string_view::npos;
}

void AppendText(std::string_view text, std::string* line) {
  bool plain = !text.empty();
  for (char c : text) plain = plain && Plain(c);
  if (plain) {
    line->append(text);
    return;
  }
  line->push_back('"');
  for (char c : text) {
    if (c == '"' || c == '\\') {
      line->push_back('\\');
      line->push_back(c);
    } else if (c == '\n') {
      line->append("\\n");
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      line->append(absl::StrFormat("\\x%02x", static_cast<unsigned char>(c)));
    } else {
      line->push_back(c);
    }
  }
  line->push_back('"');
}

struct Appender {
  std::string* line;
  void operator()(bool value) const { line->append(value ? "true" : "false"); }
  void operator()(int64_t value) const { StrAppend(line, value); }
  void operator()(uint64_t value) const { StrAppend(line, value); }
  void operator()(double value) const { StrAppend(line, value); }
  void operator()(std::string_view value) const { AppendText(value, line); }
  void operator()(const std::string& value) const { AppendText(value, line); }
};

}  // namespace

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warn") return LogLevel::kWarn;
  if (name == "error") return LogLevel::kError;
  if (name == "off") return LogLevel::kOff;
  return InvalidArgument("no log level ", name, ". Levels: debug, info, warn, error, off");
}

LogField::LogField(std::string_view key, const absl::Status& status)
    : key_(key),
      value_(status.ok() ? std::string("ok") : status.ToString(absl::StatusToStringMode::kWithNoExtraData)) {}

void LogField::AppendTo(std::string* line) const {
  line->push_back(' ');
  line->append(key_);
  line->push_back('=');
  std::visit(Appender{line}, value_);
}

absl::Status StartLogging(LogLevel level, const std::string& file) {
  try {  // spdlog tells of a file that cannot be opened by an exception
    spdlog::sink_ptr sink;
    if (file.empty()) {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file, kFileBytes, kOldFiles);
    }
    Logger() = MakeLogger(std::move(sink), level);
    spdlog::set_default_logger(Logger());
    spdlog::flush_every(std::chrono::seconds(1));
  } catch (const spdlog::spdlog_ex& error) {
    return MakeStatus(absl::StatusCode::kUnknown, "log file ", file, ": ", error.what());
  }
  return absl::OkStatus();
}

bool LogEnabled(LogLevel level) {
  return Logger()->should_log(ToSpdlog(level));
}

void Log(LogLevel level, std::string_view component, std::string_view message, LogFields fields) {
  if (!LogEnabled(level)) return;
  std::string line = "component=";
  AppendText(component, &line);
  line.append(" msg=");
  AppendText(message, &line);
  for (const LogField& field : fields) field.AppendTo(&line);
  Logger()->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void FlushLogs() {
  Logger()->flush();
}

}  // namespace terrane
