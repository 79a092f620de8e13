#include "common/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "common/process.h"
#include "common/status.h"
#include "common/units.h"

namespace terrane {
namespace {

std::string EnvironmentName(const std::string& name) {
  return "TERRANE_" + absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}}));
}

// CLI11's way of saying that a text is refused: a non-empty message.
template <typename T>
std::string Take(absl::StatusOr<T> parsed, T* target) {
  if (!parsed.ok()) return std::string(MessageOf(parsed.status()));
  *target = *std::move(parsed);
  return "";
}

}  // namespace

struct CommandLine::Rep {
  explicit Rep(std::string program, std::string about) : app(std::move(about), std::move(program)) {}

  // `take` reads the text into the target and returns "" or what is wrong with it.
  void Define(const std::string& name, const std::string& shown_default, const std::string& help,
              std::function<std::string(const std::string&)> take) {
    CLI::callback_t callback = [take = std::move(take), name](const CLI::results_t& results) {
      if (std::string wrong = take(results.back()); !wrong.empty()) throw CLI::ValidationError("--" + name, wrong);
      return true;
    };
    CLI::Option* option = app.add_option("--" + name, std::move(callback), Help(name, help));
    if (!shown_default.empty()) option->default_str(shown_default);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    names.push_back(name);
  }

  static std::string Help(const std::string& name, const std::string& help) {
    return help + " [" + EnvironmentName(name) + "]";
  }

  CLI::App app;
  std::vector<std::string> names;
};

CommandLine::CommandLine(std::string program, std::string about, std::string version)
    : rep_(std::make_unique<Rep>(std::move(program), std::move(about))) {
  CLI::App& app = rep_->app;
  app.set_version_flag("--version", std::move(version), "Print version and commit");
  app.set_config("--config", "", "File with settings (TOML: name = value)")->envname("TERRANE_CONFIG");
  app.allow_config_extras(CLI::config_extras_mode::error);
}

CommandLine::~CommandLine() = default;

void CommandLine::Add(const std::string& name, std::string* target, const std::string& help) {
  rep_->Define(name, *target, help, [target](const std::string& text) {
    *target = text;
    return "";
  });
}

void CommandLine::Add(const std::string& name, int64_t* target, int64_t min, int64_t max, const std::string& help) {
  rep_->Define(name, std::to_string(*target), help, [=](const std::string& text) -> std::string {
    int64_t value = 0;
    if (!absl::SimpleAtoi(text, &value) || value < min || value > max) {
      return StrCat("\"", text, "\" is not a whole number from ", min, " to ", max);
    }
    *target = value;
    return "";
  });
}

void CommandLine::Add(const std::string& name, double* target, const std::string& help) {
  rep_->Define(name, StrCat(*target), help, [target](const std::string& text) -> std::string {
    return absl::SimpleAtod(text, target) ? "" : "\"" + text + "\" is not a number";
  });
}

void CommandLine::Add(const std::string& name, bool* target, const std::string& help) {
  rep_->app.add_flag("--" + name, *target, Rep::Help(name, help));
  rep_->names.push_back(name);
}

void CommandLine::Add(const std::string& name, std::chrono::milliseconds* target, const std::string& help) {
  const int64_t ms = target->count();
  rep_->Define(name, ms > 0 && ms % 1000 == 0 ? StrCat(ms / 1000, "s") : StrCat(ms, "ms"), help,
               [target](const std::string& text) { return Take(ParseDuration(text), target); });
}

void CommandLine::Add(const std::string& name, std::vector<std::string>* target, const std::string& help) {
  rep_->Define(name, "", help, [target](const std::string& text) {
    target->clear();
    std::string_view rest = text;
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (comma > 0) target->emplace_back(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    return "";
  });
}

void CommandLine::AddBytes(const std::string& name, int64_t* target, const std::string& help) {
  const int64_t bytes = *target;
  rep_->Define(name, bytes > 0 && bytes % (1 << 20) == 0 ? StrCat(bytes >> 20, "MiB") : StrCat(bytes), help,
               [target](const std::string& text) { return Take(ParseBytes(text), target); });
}

void CommandLine::Require(const std::string& name) {
  rep_->app.get_option("--" + name)->required();
}

std::optional<int> CommandLine::Parse(int argc, const char* const* argv) {
  // The environment goes in front of the arguments, so that a flag, which comes later, wins; CLI11's own reading of the
  // environment would come after the file and lose to it. A variable that is empty is none: --name= would take the next
  // argument for its value.
  std::vector<std::string> arguments;
  for (const std::string& name : rep_->names) {
    const char* value = getenv(EnvironmentName(name).c_str());
    if (value != nullptr && *value != '\0') arguments.push_back("--" + name + "=" + value);
  }
  for (int i = 1; i < argc; ++i) arguments.emplace_back(argv[i]);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    rep_->app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    std::cout << rep_->app.help();
    return kExitOk;
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << "\n";
    return kExitOk;
  } catch (const CLI::ConfigError& error) {
    constexpr std::string_view kTheirs = "INI was not able to parse ";
    std::string_view what = error.what();
    const bool unknown = what.starts_with(kTheirs);
    if (unknown) what.remove_prefix(kTheirs.size());
    std::cerr << "error: " << rep_->app.get_config_ptr()->as<std::string>() << ": " << (unknown ? "no setting " : "")
              << what << ". See " << rep_->app.get_name() << " --help\n";
    return kExitUsage;
  } catch (const CLI::Error& error) {
    std::cerr << "error: " << error.what() << ". See " << rep_->app.get_name() << " --help\n";
    return kExitUsage;
  }
  return std::nullopt;
}

}  // namespace terrane
