#include "recount.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "common/status.h"
#include "document/extended_json.h"
#include "document/value.h"

namespace terrane::demo {
namespace {

absl::StatusOr<int64_t> Count(const std::string& answer, std::string_view field) {
  const auto value = document::FindField(answer, field);
  if (!value || (value->type() != document::Type::kInt32 && value->type() != document::Type::kInt64)) {
    return Internal("the recount says nothing about \"", field, "\"");
  }
  return value->AsInt64();
}

}  // namespace

absl::StatusOr<std::string> RunProgram(const std::vector<std::string>& arguments, const std::vector<int>& good_codes) {
  int output[2];
  if (pipe2(output, O_CLOEXEC) != 0) return Internal("pipe failed");
  const pid_t pid = fork();
  if (pid < 0) return Internal("fork failed");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(output[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(output[1]);
  std::string text;
  char buffer[4096];
  ssize_t n;
  while ((n = read(output[0], buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
  close(output[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFEXITED(status) || std::find(good_codes.begin(), good_codes.end(), WEXITSTATUS(status)) == good_codes.end()) {
    return Internal(arguments[0], " failed: ", text);
  }
  return text;
}

absl::StatusOr<Recount> RunRecount(const std::filesystem::path& source, const std::string& proxy,
                                   const std::string& collection, int64_t generated,
                                   const std::filesystem::path& journals) {
  TERRANE_ASSIGN_OR_RETURN(const std::string text,
                           RunProgram({"/usr/bin/python3", (source / "demo/recount.py").string(), "--proxy", proxy,
                                       "--collection", collection, "--generated", StrCat(generated), "--journals",
                                       journals.string(), "--proto", (source / "proto").string()},
                                      {0, 1}));
  TERRANE_ASSIGN_OR_RETURN(const std::string answer, document::DocumentFromJson(text));
  Recount recount;
  TERRANE_ASSIGN_OR_RETURN(recount.documents, Count(answer, "documents"));
  TERRANE_ASSIGN_OR_RETURN(recount.acknowledged_writes, Count(answer, "acknowledged_writes"));
  TERRANE_ASSIGN_OR_RETURN(recount.lost, Count(answer, "lost"));
  TERRANE_ASSIGN_OR_RETURN(recount.duplicated, Count(answer, "duplicated"));
  TERRANE_ASSIGN_OR_RETURN(recount.wrong, Count(answer, "wrong"));
  for (int i = 0;; ++i) {
    const auto example = document::FindField(answer, StrCat("examples.", i));
    if (!example || example->type() != document::Type::kString) break;
    recount.examples.emplace_back(example->AsString());
  }
  return recount;
}

}  // namespace terrane::demo
