#include "client/session.h"

#include <sys/random.h>

#include <cstdlib>

namespace terrane::client {

std::string RandomId() {
  std::string id(16, '\0');
  // Never short for so few bytes once the system is up.
  if (getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) std::abort();
  return id;
}

}  // namespace terrane::client
