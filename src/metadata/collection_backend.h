// Makes the shards follow the collections: tells them about the chunks of new ones and removes the copies of dropped
// ones, then commits that it is done. Runs on the leader; what it does may be done twice, so a new leader just begins
// again.
#pragma once

#include <memory>
#include <vector>

#include "common/ids.h"

namespace terrane::metadata {

class Node;

// Thread-safe; no call blocks but Stop. `node` outlives it.
class CollectionBackend {
 public:
  explicit CollectionBackend(Node* node);
  ~CollectionBackend();

  void StartLeading(Term term);
  void StopLeading();
  // These collections, or moves of theirs, changed.
  void Changed();
  void Stop();

 private:
  class Loop;
  std::shared_ptr<Loop> loop_;
};

}  // namespace terrane::metadata
