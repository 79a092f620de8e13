// Settings of a server process: each is defined once and can come from a flag (--max-hold 2s), from the environment
// (TERRANE_MAX_HOLD=2s) or from the file that --config names (max-hold = "2s"). A flag outweighs the environment, which
// outweighs the file, which outweighs the default. docs/configuration.md lists them all.
//
// For the main thread, before others start.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace terrane {

class CommandLine {
 public:
  // `program` and `about` for --help, `version` for --version.
  CommandLine(std::string program, std::string about, std::string version);
  ~CommandLine();

  // Each defines the setting `name` ("max-hold"); `target` holds the default and gets the value. `target` outlives
  // Parse.
  void Add(const std::string& name, std::string* target, const std::string& help);
  void Add(const std::string& name, int64_t* target, int64_t min, int64_t max, const std::string& help);
  void Add(const std::string& name, double* target, const std::string& help);
  void Add(const std::string& name, bool* target, const std::string& help);  // --name or --name=false
  void Add(const std::string& name, std::chrono::milliseconds* target, const std::string& help);  // "50ms", "2s"
  void Add(const std::string& name, std::vector<std::string>* target, const std::string& help);   // a,b,c
  // A size: "64MiB".
  void AddBytes(const std::string& name, int64_t* target, const std::string& help);
  // Without it Parse refuses.
  void Require(const std::string& name);

  // Fills the targets. Returns an exit code if the process is to end now: 0 after --help and --version, 2 after a
  // message on standard error that names the setting and what was expected.
  std::optional<int> Parse(int argc, const char* const* argv);

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace terrane
