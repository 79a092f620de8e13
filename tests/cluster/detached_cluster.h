// A cluster that outlives its starter, as people make it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "common/process.h"
#include "support/mini_cluster.h"

namespace terrane::testing {

// Runs the real program on a directory of its own; whatever still runs there in the end is stopped.
class DetachedCluster : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string directory = (std::filesystem::path(::testing::TempDir()) / "terrane-XXXXXX").native();
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
  }
  void TearDown() override {
    Terrane("cluster stop");
    if (!HasFailure()) std::filesystem::remove_all(directory_);
  }

  // `before`: words of the shell in front of the program, which run it.
  CliResult Terrane(const std::string& arguments, const std::string& before = "") {
    const auto out = directory_.native() + ".out", err = directory_.native() + ".err";
    const std::string command = before + " " + std::string(TERRANE_BINARY_DIR) + "/bin/terrane " + arguments +
                                " --dir " + directory_.native() + " >" + out + " 2>" + err;
    CliResult result;
    result.exit = WEXITSTATUS(system(command.c_str()));
    result.out = ReadWholeFile(out).value();
    result.err = ReadWholeFile(err).value();
    std::filesystem::remove(out);
    std::filesystem::remove(err);
    return result;
  }

  std::filesystem::path directory_;
};

}  // namespace terrane::testing
