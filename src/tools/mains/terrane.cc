// terrane: the admin CLI.
#include <iostream>

#include "tools/cli.h"

int main(int argc, char** argv) {
  return terrane::tools::RunCli(argc, argv, std::cout, std::cerr);
}
