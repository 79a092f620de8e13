// Requests that wait for the end of a switch, so that applications see a slow request instead of an error.
//
// A hold is of one chunk. It begins when a shard refuses a request with CHUNK_FENCED while the cached route still bears
// the token that was refused (trap T69: else the request goes out again at once). It ends with a route of a greater
// token (a commit and the end of an attempt both bring one), or at its own limit; after that a new one needs a greater
// (migration, attempt), so that no second window follows the first (trap T12).
//
// Pure: no thread, no clock; times are arguments. Not thread-safe. Resume functions are never called in here: they are
// handed back to the caller, who calls them when it holds no lock.
#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/ids.h"
#include "routing/chunk_routes.h"

namespace terrane::proxy {

struct HoldLimits {
  std::chrono::milliseconds time{5'000};       // of a hold, from its beginning
  int64_t requests = 10'000;                   // in all holds together
  int64_t bytes = 64 << 20;                    // likewise
  std::chrono::milliseconds probe_every{250};  // one request of each hold goes out and looks, should nobody tell us
};

struct SwitchAttempt {
  MigrationId migration;
  Attempt attempt;
  friend auto operator<=>(const SwitchAttempt&, const SwitchAttempt&) = default;
};

class HoldQueue {
 public:
  // OK: send it again. Else: the answer.
  using Resume = std::function<void(absl::Status)>;
  struct Request {
    MonotonicTime deadline;
    int64_t bytes = 0;
    bool write = false;
    Resume resume;
  };
  struct Resumed {
    Resume resume;
    absl::Status status;
  };
  enum class Answer {
    kHeld,       // `request` was taken over
    kSendAgain,  // the refusal is old news
    kRefused,    // answer HOLD_EXPIRED: at a limit
    kNoHold,     // Join only: nothing stands in the way
  };

  explicit HoldQueue(HoldLimits limits) : limits_(limits) {}

  // A request that bore `refused` was refused with CHUNK_FENCED by this attempt. `cached` is what the present map has
  // for the request's key; null: nothing.
  Answer OnFenced(CollectionId collection, const routing::ChunkRoute& refused, SwitchAttempt attempt,
                  const routing::ChunkRoute* cached, Request& request, MonotonicTime now);

  // A new request is about to be sent with `route`: it joins a hold of its chunk. Reads join only if a read was refused
  // (between F and G they are served).
  Answer Join(CollectionId collection, const routing::ChunkRoute& route, Request& request);

  // The map has changed; `route_of` gives its route of a key, or null. Ends the holds that are over: those of an older
  // token, and of a chunk that is another one by now, for the refusal was about a part of it, and nobody would say when
  // the switch of the rest is over.
  using RouteOf = std::function<const routing::ChunkRoute*(CollectionId, std::string_view)>;
  std::vector<Resumed> OnRoutes(const RouteOf& route_of);

  // Time has passed: ends holds at their limit, answers requests at their deadline, sends out probes. To be called
  // every few milliseconds while open() is true.
  std::vector<Resumed> OnTime(MonotonicTime now);

  // Ends everything with this answer.
  std::vector<Resumed> Clear(const absl::Status& status);

  bool open() const { return !holds_.empty(); }
  size_t holds() const { return holds_.size(); }
  int64_t requests() const { return requests_; }
  int64_t bytes() const { return bytes_; }
  // When the oldest open hold began.
  std::optional<MonotonicTime> oldest() const;

 private:
  using ChunkKey = std::pair<CollectionId, std::string>;  // and the range's minimum
  struct Hold {
    KeyRange range;  // that of the chunk in the present map
    Token refused;
    SwitchAttempt attempt;
    MonotonicTime began;
    MonotonicTime probed;
    bool reads = false;
    std::deque<Request> waiting;
  };

  Answer Enqueue(Hold& hold, Request& request);
  Request Dequeue(Hold& hold);
  void End(Hold& hold, const absl::Status& status, std::vector<Resumed>* out);

  const HoldLimits limits_;
  std::map<ChunkKey, Hold> holds_;
  // Chunks whose hold ran into its limit, and with which token: they wait no more for this attempt.
  std::map<ChunkKey, std::pair<SwitchAttempt, Token>> expired_;
  int64_t requests_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace terrane::proxy
