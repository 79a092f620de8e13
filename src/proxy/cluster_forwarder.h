// Collections and Cluster, the admin services, as a proxy serves them: everything is passed on to the metadata
// service's leader. Calls wait on workers of their own, so that they never stand in the way of documents.
// What cannot be repeated gets all the time that its caller gives it.
#pragma once

#include <memory>
#include <vector>

#include "common/executor.h"
#include "rpc/leader_client.h"

namespace grpc {
class Service;
}

namespace terrane::proxy {

// `slow` is for what reads whole chunks, splits and checks: the others do not wait behind it. The arguments outlive the
// services.
std::vector<std::unique_ptr<grpc::Service>> MakeClusterForwarders(rpc::LeaderClient* metadata, Executor* executor,
                                                                  Executor* slow);

}  // namespace terrane::proxy
