// terrane: the admin CLI.
#include <cstdlib>
#include <iostream>

#include "tools/cli.h"

int main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE",
         /*overwrite=*/0);  // errors come as statuses; gRPC's own lines are for its developers
  return terrane::tools::RunCli(argc, argv, std::cout, std::cerr);
}
