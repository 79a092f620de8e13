#include "support/fault_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/status.h"

namespace terrane::testing {
namespace {

constexpr uint64_t kWakeKey = ~uint64_t{0};
constexpr size_t kReadAtOnce = 64 << 10;
constexpr int kEvents = 256;

// What epoll tells about: the wake-up, a listener (side 0) or one side of a connection (1: who connected, 2: target).
uint64_t Key(int64_t number, uint64_t side) {
  return static_cast<uint64_t>(number) << 2 | side;
}

absl::Status SystemError(std::string_view what) {
  return absl::ErrnoToStatus(errno, ToAbsl(what));
}

bool Watch(int epoll, int fd, uint64_t key, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

int NewSocket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  return fd;
}

// Closes with a reset instead of an orderly end.
void Reset(int fd) {
  const linger now{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

bool ParseEndpoint(const std::string& text, sockaddr_in* address) {
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > 65535) return false;
  *address = {};
  address->sin_family = AF_INET;
  address->sin_port = htons(static_cast<uint16_t>(port));
  return inet_pton(AF_INET, text.substr(0, colon).c_str(), &address->sin_addr) == 1;
}

// A listening socket on a free port; returns the port. It is bound to that very port, not to "any": else the kernel
// would give the port away when the socket stops to listen.
absl::StatusOr<uint16_t> Listen(int* listener) {
  sockaddr_in address{};
  ParseEndpoint("127.0.0.1:0", &address);
  socklen_t size = sizeof(address);
  const int one = 1;
  const int any = NewSocket();
  *listener = NewSocket();
  for (int fd : {any, *listener}) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  const bool done = bind(any, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                    getsockname(any, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
                    bind(*listener, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                    listen(*listener, SOMAXCONN) == 0;
  const absl::Status status = done ? absl::OkStatus() : SystemError("a link");
  close(any);
  if (!done) close(*listener);
  TERRANE_RETURN_IF_ERROR(status);
  return ntohs(address.sin_port);
}

}  // namespace

// Two sockets and a pipe for each direction.
class FaultProxy::Connection {
 public:
  Connection(int caller, int target) : caller_{caller}, target_{target} {}
  ~Connection() {
    if (caller_.fd >= 0) Reset(caller_.fd);
    if (target_.fd >= 0) Reset(target_.fd);
  }

  void OnEvent(uint64_t side, uint32_t events) {
    Side& which = side == 1 ? caller_ : target_;
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (broken || (events & (EPOLLIN | EPOLLRDHUP)) != 0) which.readable = true;
    if (broken || (events & EPOLLOUT) != 0) which.writable = true;
  }

  // Moves what may move. False: the connection is over.
  bool MoveBytes(MonotonicTime now, const LinkFaults& faults, LinkCounts* counts, Random* random) {
    if (faults.half_open) {
      was_half_open = true;
      Drain(&caller_);
      Drain(&target_);
      return true;
    }
    const bool fine = Move(&caller_, &there_, &target_, faults.there, faults.back, &counts->bytes_there, now, random) &&
                      Move(&target_, &back_, &caller_, faults.back, faults.there, &counts->bytes_back, now, random);
    if (!fine) return false;
    if (!caller_.told_end || !target_.told_end) return true;
    // Both sides have said and heard the end.
    close(std::exchange(caller_.fd, -1));
    close(std::exchange(target_.fd, -1));
    return false;
  }

  std::optional<MonotonicTime> NextAt(MonotonicTime now, const LinkFaults& faults) const {
    std::optional<MonotonicTime> next = cut_at;
    if (faults.half_open) return next;
    // A pipe that was full has room again: nobody will tell of the bytes that wait in the socket.
    if (caller_.readable && !faults.there.frozen && there_.HasRoom()) return now;
    if (target_.readable && !faults.back.frozen && back_.HasRoom()) return now;
    for (const auto& at : {there_.NextAt(now, faults.there), back_.NextAt(now, faults.back)}) {
      if (at && (!next || *at < *next)) next = at;
    }
    return next;
  }

  bool was_half_open = false;
  std::optional<MonotonicTime> cut_at;  // by mean_life

 private:
  struct Side {
    int fd;
    bool readable = false;  // there may be something
    bool writable = false;
    bool told_end = false;  // it has heard that no more will come
    bool gone = false;      // it takes nothing any more
  };

  // What half-open connections send is lost.
  static void Drain(Side* side) {
    char buffer[kReadAtOnce];
    while (side->readable && recv(side->fd, buffer, sizeof(buffer), 0) > 0) {
    }
    side->readable = false;
  }

  // From one side to the other. The news that `to` is gone travels in the other direction. False: over.
  bool Move(Side* from, FaultPipe* pipe, Side* to, const DirectionFaults& faults, const DirectionFaults& other,
            int64_t* count, MonotonicTime now, Random* random) const {
    while (from->readable && !faults.frozen && pipe->HasRoom()) {
      std::string bytes(kReadAtOnce, '\0');
      const ssize_t got = recv(from->fd, bytes.data(), bytes.size(), 0);
      if (got > 0) {
        bytes.resize(static_cast<size_t>(got));
        pipe->Put(std::move(bytes), now, faults, random);
      } else if (got == 0) {
        from->readable = false;
        pipe->PutEnd(now, faults, random);
      } else if (errno == EAGAIN) {
        from->readable = false;
      } else if (errno != EINTR) {
        return false;
      }
    }
    while (true) {
      const std::string_view ready = pipe->Ready(now, faults);
      if (ready.empty() || (!to->writable && !to->gone)) break;
      const ssize_t sent =
          to->gone ? static_cast<ssize_t>(ready.size()) : send(to->fd, ready.data(), ready.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        pipe->Take(static_cast<size_t>(sent), faults);
        if (!to->gone) *count += sent;
      } else if (errno == EAGAIN) {
        to->writable = false;
      } else if (errno != EINTR) {
        to->gone = true;
      }
    }
    if (to->gone && !other.frozen) return false;
    if (pipe->EndReady(now, faults) && !to->told_end && to->writable) {
      shutdown(to->fd, SHUT_WR);
      to->told_end = true;
    }
    return true;
  }

  Side caller_;
  Side target_;
  FaultPipe there_;
  FaultPipe back_;
};

struct FaultProxy::Link {
  int listener = -1;
  bool refusing = false;
  std::string endpoint;
  sockaddr_in target{};
  LinkFaults faults;
  LinkCounts counts;
  std::map<int64_t, Connection> connections;
};

FaultProxy::FaultProxy(uint64_t seed) : random_(seed) {}

absl::StatusOr<std::unique_ptr<FaultProxy>> FaultProxy::Start(uint64_t seed) {
  std::unique_ptr<FaultProxy> proxy(new FaultProxy(seed));
  proxy->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  proxy->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (proxy->epoll_ < 0 || proxy->wake_ < 0 || !Watch(proxy->epoll_, proxy->wake_, kWakeKey, EPOLLIN)) {
    return SystemError("a fault proxy");
  }
  proxy->thread_ = std::thread([p = proxy.get()] { p->Run(); });
  return proxy;
}

FaultProxy::~FaultProxy() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) {
    Wake();
    thread_.join();
  }
  for (auto& [id, link] : links_) close(link->listener);
  if (epoll_ >= 0) close(epoll_);
  if (wake_ >= 0) close(wake_);
}

absl::StatusOr<FaultProxy::LinkId> FaultProxy::AddLink(const std::string& target) {
  auto link = std::make_unique<Link>();
  if (!ParseEndpoint(target, &link->target)) return InvalidArgument("\"", target, "\" is not address:port");
  TERRANE_ASSIGN_OR_RETURN(const uint16_t port, Listen(&link->listener));
  link->endpoint = StrCat("127.0.0.1:", port);
  std::lock_guard lock(mutex_);
  const auto id = static_cast<LinkId>(links_.size());
  if (!Watch(epoll_, link->listener, Key(id, 0), EPOLLIN | EPOLLET)) {
    const absl::Status status = SystemError("a link");
    close(link->listener);
    return status;
  }
  links_.emplace(id, std::move(link));
  return id;
}

std::string FaultProxy::Endpoint(LinkId link) const {
  std::lock_guard lock(mutex_);
  return links_.at(link)->endpoint;
}

LinkFaults FaultProxy::Faults(LinkId link) const {
  std::lock_guard lock(mutex_);
  return links_.at(link)->faults;
}

LinkCounts FaultProxy::Counts(LinkId link) const {
  std::lock_guard lock(mutex_);
  LinkCounts counts = links_.at(link)->counts;
  counts.open = static_cast<int64_t>(links_.at(link)->connections.size());
  return counts;
}

namespace {

std::optional<MonotonicTime> EndOfLife(const LinkFaults& faults, MonotonicTime now, Random* random) {
  if (faults.mean_life.count() == 0) return std::nullopt;
  const double means = -std::log(1 - random->Fraction());
  return now + std::chrono::duration_cast<std::chrono::nanoseconds>(faults.mean_life * means);
}

}  // namespace

void FaultProxy::SetFaults(LinkId id, const LinkFaults& faults) {
  {
    std::lock_guard lock(mutex_);
    Link* link = links_.at(id).get();
    const bool new_life = faults.mean_life != link->faults.mean_life;
    link->faults = faults;
    if (faults.refuse != link->refusing) {
      link->refusing = faults.refuse;
      // The socket keeps its port, so that nobody else gets it meanwhile; listening or not is what changes. Whoever
      // waits to be accepted is reset.
      if (faults.refuse) {
        shutdown(link->listener, SHUT_RD);
      } else {
        listen(link->listener, SOMAXCONN);
      }
    }
    const MonotonicTime now = Clock::System()->Now();
    std::vector<int64_t> lost;
    for (auto& [number, connection] : link->connections) {
      if (new_life) connection.cut_at = EndOfLife(faults, now, &random_);
      if (faults.half_open) connection.was_half_open = true;
      if (!faults.half_open && connection.was_half_open) lost.push_back(number);
    }
    for (int64_t number : lost) Close(link, number, /*cut=*/true);
  }
  Wake();
}

void FaultProxy::Cut(LinkId id) {
  std::lock_guard lock(mutex_);
  Link* link = links_.at(id).get();
  while (!link->connections.empty()) Close(link, link->connections.begin()->first, /*cut=*/true);
}

void FaultProxy::Close(Link* link, int64_t connection, bool cut) {
  link->connections.erase(connection);
  if (cut) ++link->counts.cut;
}

void FaultProxy::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

void FaultProxy::Accept(LinkId, Link* link) {
  while (true) {
    const int caller = accept4(link->listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (caller < 0) return;
    const int one = 1;
    setsockopt(caller, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const int target = NewSocket();
    if (target < 0) {
      Reset(caller);
      return;
    }
    const bool refused = connect(target, reinterpret_cast<const sockaddr*>(&link->target), sizeof(link->target)) != 0 &&
                         errno != EINPROGRESS;
    ++link->counts.accepted;
    const int64_t number = next_connection_++;
    auto& connection = link->connections.try_emplace(number, caller, target).first->second;
    connection.cut_at = EndOfLife(link->faults, Clock::System()->Now(), &random_);
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (refused || !Watch(epoll_, caller, Key(number, 1), events) || !Watch(epoll_, target, Key(number, 2), events)) {
      Close(link, number, /*cut=*/false);
    }
  }
}

void FaultProxy::MoveBytes(MonotonicTime now) {
  for (auto& [id, link] : links_) {
    for (auto it = link->connections.begin(); it != link->connections.end();) {
      const int64_t number = it->first;
      Connection& connection = it->second;
      ++it;
      if (connection.cut_at && *connection.cut_at <= now) {
        Close(link.get(), number, /*cut=*/true);
      } else if (!connection.MoveBytes(now, link->faults, &link->counts, &random_)) {
        Close(link.get(), number, /*cut=*/false);
      }
    }
  }
}

int FaultProxy::WaitMillis(MonotonicTime now) const {
  std::optional<MonotonicTime> next;
  for (const auto& [id, link] : links_) {
    for (const auto& [number, connection] : link->connections) {
      const auto at = connection.NextAt(now, link->faults);
      if (at && (!next || *at < *next)) next = at;
    }
  }
  if (!next) return -1;
  return static_cast<int>(
      std::chrono::ceil<std::chrono::milliseconds>(std::max(*next - now, MonotonicTime(0))).count());
}

void FaultProxy::Run() {
  std::vector<epoll_event> events(kEvents);
  int wait = -1;
  while (true) {
    const int count = epoll_wait(epoll_, events.data(), kEvents, wait);
    std::lock_guard lock(mutex_);
    if (stopping_) {
      for (auto& [id, link] : links_) link->connections.clear();
      return;
    }
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.u64 == kWakeKey) {
        uint64_t ignored = 0;
        (void)!read(wake_, &ignored, sizeof(ignored));
        continue;
      }
      const uint64_t side = event.data.u64 & 3;
      const auto number = static_cast<int64_t>(event.data.u64 >> 2);
      if (side == 0) {
        Link* link = links_.at(static_cast<LinkId>(number)).get();
        if (!link->refusing) Accept(static_cast<LinkId>(number), link);
        continue;
      }
      for (auto& [id, link] : links_) {
        const auto connection = link->connections.find(number);
        if (connection != link->connections.end()) connection->second.OnEvent(side, event.events);
      }
    }
    const MonotonicTime now = Clock::System()->Now();
    MoveBytes(now);
    wait = WaitMillis(now);
  }
}

}  // namespace terrane::testing
