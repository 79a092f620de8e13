// Each fault of the network, with real sockets.
#include "support/fault_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <optional>
#include <thread>
#include <utility>

#include "common/strings.h"
#include "support/await.h"

namespace terrane::testing {
namespace {

using std::chrono::milliseconds;
using Moment = std::chrono::steady_clock::time_point;

Moment Now() {
  return std::chrono::steady_clock::now();
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// One end of a connection. Its calls wait; what they say when nothing comes is told apart from the end.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() { Close(); }
  void Close() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

  void Send(const std::string& bytes) const {
    for (size_t sent = 0; sent < bytes.size();) {
      const ssize_t n = send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      ASSERT_GT(n, 0) << "sending";
      sent += static_cast<size_t>(n);
    }
  }
  void SendEnd() const { shutdown(fd_, SHUT_WR); }

  // "end", "reset", "nothing" within the limit, or the bytes: all `size`, or what came before that happened.
  std::string Receive(size_t size, milliseconds limit = milliseconds(5'000)) const {
    std::string bytes;
    while (bytes.size() < size) {
      pollfd wait{fd_, POLLIN, 0};
      if (poll(&wait, 1, static_cast<int>(limit.count())) == 0) return bytes.empty() ? "nothing" : bytes;
      std::string piece(size - bytes.size(), '\0');
      const ssize_t n = recv(fd_, piece.data(), piece.size(), 0);
      if (n <= 0 && !bytes.empty()) return bytes;
      if (n == 0) return "end";
      if (n < 0) return "reset";
      bytes += piece.substr(0, static_cast<size_t>(n));
    }
    return bytes;
  }

 private:
  int fd_;
};

std::optional<Socket> ConnectTo(const std::string& endpoint) {
  Socket socket(::socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in address = Loopback(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  if (connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return std::nullopt;
  return socket;
}

class FaultProxyTest : public ::testing::Test {
 protected:
  struct Pair {
    Socket caller;
    Socket target;
  };

  void SetUp() override {
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    ASSERT_EQ(bind(server_.fd(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(listen(server_.fd(), 16), 0);
    ASSERT_EQ(getsockname(server_.fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    auto proxy = FaultProxy::Start();
    ASSERT_TRUE(proxy.ok()) << proxy.status();
    proxy_ = *std::move(proxy);
    const auto link = proxy_->AddLink(StrCat("127.0.0.1:", ntohs(address.sin_port)));
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *link;
  }

  Socket AcceptOne() { return Socket(accept(server_.fd(), nullptr, nullptr)); }
  Pair NewPair() {
    auto caller = ConnectTo(proxy_->Endpoint(link_));
    EXPECT_TRUE(caller.has_value());
    return {*std::move(caller), AcceptOne()};
  }
  void Set(const LinkFaults& faults) { proxy_->SetFaults(link_, faults); }

  Socket server_{::socket(AF_INET, SOCK_STREAM, 0)};
  std::unique_ptr<FaultProxy> proxy_;
  FaultProxy::LinkId link_ = -1;
};

TEST_F(FaultProxyTest, HealthyLinkPassesBytesAndEnds) {
  Pair pair = NewPair();
  pair.caller.Send("there");
  EXPECT_EQ(pair.target.Receive(5), "there");
  pair.target.Send("back");
  EXPECT_EQ(pair.caller.Receive(4), "back");
  pair.caller.SendEnd();  // half of it: the other direction goes on
  EXPECT_EQ(pair.target.Receive(1), "end");
  pair.target.Send("late");
  EXPECT_EQ(pair.caller.Receive(4), "late");
  pair.target.SendEnd();
  EXPECT_EQ(pair.caller.Receive(1), "end");
  EXPECT_TRUE(Await([&] { return proxy_->Counts(link_).open == 0; }));
  const LinkCounts counts = proxy_->Counts(link_);
  EXPECT_EQ(counts.accepted, 1);
  EXPECT_EQ(counts.bytes_there, 5);
  EXPECT_EQ(counts.bytes_back, 8);
  EXPECT_EQ(counts.cut, 0);
}

TEST_F(FaultProxyTest, MegabytesPassBothWaysAtOnceUnchanged) {
  Pair pair = NewPair();
  Random random(1);
  const std::string there = random.Bytes(8 << 20), back = random.Bytes(8 << 20);
  std::thread to([&] { pair.caller.Send(there); });
  std::thread fro([&] { pair.target.Send(back); });
  std::string arrived;
  std::thread reader([&] { arrived = pair.target.Receive(there.size()); });
  EXPECT_TRUE(pair.caller.Receive(back.size()) == back);
  to.join();
  fro.join();
  reader.join();
  EXPECT_TRUE(arrived == there);
}

TEST_F(FaultProxyTest, DelayIsOfOneDirectionAndKeepsTheOrder) {
  Pair pair = NewPair();
  Set({.there = {.delay = milliseconds(150), .jitter = milliseconds(100)}});
  const Moment start = Now();
  std::string sent;
  for (int i = 0; i < 100; ++i) {
    const std::string piece = StrCat(i, " ");
    pair.caller.Send(piece);
    sent += piece;
  }
  pair.target.Send("x");
  EXPECT_EQ(pair.caller.Receive(1), "x");
  EXPECT_LT(Now() - start, milliseconds(150));
  EXPECT_EQ(pair.target.Receive(sent.size()), sent);
  EXPECT_GE(Now() - start, milliseconds(150));
  Set({});
  pair.caller.Send("y");
  EXPECT_EQ(pair.target.Receive(1), "y");
}

TEST_F(FaultProxyTest, ThrottleLimitsTheRate) {
  Pair pair = NewPair();
  Set({.back = {.bytes_per_second = 1 << 20}});
  const std::string bytes(300 << 10, 'b');
  const Moment start = Now();
  std::thread sender([&] { pair.target.Send(bytes); });
  EXPECT_EQ(pair.caller.Receive(bytes.size()).size(), bytes.size());
  const double took = std::chrono::duration<double>(Now() - start).count();
  sender.join();
  EXPECT_GT(took, 0.25);
  EXPECT_LT(took, 2.0 * kSlowness);
}

TEST_F(FaultProxyTest, FrozenDirectionHoldsEverythingAndLosesNothing) {
  Pair pair = NewPair();
  Set({.there = {.frozen = true}});
  pair.caller.Send("there");
  pair.caller.SendEnd();
  pair.target.Send("back");
  EXPECT_EQ(pair.caller.Receive(4), "back");
  EXPECT_EQ(pair.target.Receive(1, milliseconds(100)), "nothing");  // neither bytes nor the end
  Set({});
  EXPECT_EQ(pair.target.Receive(5), "there");
  EXPECT_EQ(pair.target.Receive(1), "end");
}

TEST_F(FaultProxyTest, FreezingAlsoHoldsWhatIsOnItsWay) {
  Pair pair = NewPair();
  Set({.there = {.delay = milliseconds(200)}});
  pair.caller.Send("slow");
  Set({.there = {.delay = milliseconds(200), .frozen = true}});
  EXPECT_EQ(pair.target.Receive(1, milliseconds(400)), "nothing");
  Set({});
  EXPECT_EQ(pair.target.Receive(4), "slow");
}

TEST_F(FaultProxyTest, FrozenLinkHidesThatTheTargetDied) {
  Pair pair = NewPair();
  Set({.there = {.frozen = true}, .back = {.frozen = true}});
  pair.target.Close();
  EXPECT_EQ(pair.caller.Receive(1, milliseconds(100)), "nothing");
  Set({});
  EXPECT_EQ(pair.caller.Receive(1), "end");
}

TEST_F(FaultProxyTest, CutResetsBothSidesAndNewConnectionsAreWelcome) {
  Pair pair = NewPair();
  proxy_->Cut(link_);
  EXPECT_EQ(pair.caller.Receive(1), "reset");
  EXPECT_EQ(pair.target.Receive(1), "reset");
  EXPECT_EQ(proxy_->Counts(link_).cut, 1);
  Pair next = NewPair();
  next.caller.Send("again");
  EXPECT_EQ(next.target.Receive(5), "again");
}

TEST_F(FaultProxyTest, RefusedConnectionsAreRefusedAndOldOnesStay) {
  Pair pair = NewPair();
  Set({.refuse = true});
  EXPECT_FALSE(ConnectTo(proxy_->Endpoint(link_)).has_value());
  EXPECT_EQ(errno, ECONNREFUSED);
  pair.caller.Send("old");
  EXPECT_EQ(pair.target.Receive(3), "old");
  Set({});
  Pair next = NewPair();
  next.caller.Send("new");
  EXPECT_EQ(next.target.Receive(3), "new");
}

TEST_F(FaultProxyTest, HalfOpenLosesAllAndTellsNobody) {
  Pair pair = NewPair();
  Set({.half_open = true});
  pair.caller.Send("lost");
  EXPECT_EQ(pair.target.Receive(1, milliseconds(50)), "nothing");
  auto late = ConnectTo(proxy_->Endpoint(link_));
  ASSERT_TRUE(late.has_value());  // accepted
  late->Send("lost");
  pair.target.Close();
  EXPECT_EQ(pair.caller.Receive(1, milliseconds(50)), "nothing");
  Set({});
  EXPECT_EQ(pair.caller.Receive(1), "reset");
  EXPECT_EQ(late->Receive(1), "reset");
  EXPECT_EQ(proxy_->Counts(link_).bytes_there, 0);
}

TEST_F(FaultProxyTest, ConnectionsOfShortLifeAreCut) {
  Set({.mean_life = milliseconds(20)});
  for (int i = 0; i < 5; ++i) {
    Pair pair = NewPair();
    EXPECT_EQ(pair.caller.Receive(1), "reset");
  }
  EXPECT_EQ(proxy_->Counts(link_).cut, 5);
  Pair old = NewPair();
  Set({});
  EXPECT_EQ(old.caller.Receive(1, milliseconds(100)), "nothing");
}

TEST_F(FaultProxyTest, TargetThatIsNotThereResets) {
  server_.Close();
  const auto caller = ConnectTo(proxy_->Endpoint(link_));
  // The reset may come before connect() has returned: then that tells of it.
  EXPECT_EQ(caller.has_value() ? caller->Receive(1) : "reset", "reset");
}

TEST_F(FaultProxyTest, TargetThatDiesIsNoticed) {
  Pair pair = NewPair();
  const linger now{1, 0};
  setsockopt(pair.target.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  pair.target.Close();
  EXPECT_EQ(pair.caller.Receive(1), "reset");
}

TEST_F(FaultProxyTest, WaitingCostsNothing) {
  Pair pair = NewPair();
  for (const LinkFaults& faults : {LinkFaults{}, LinkFaults{.there = {.frozen = true}}, LinkFaults{.refuse = true},
                                   LinkFaults{.there = {.bytes_per_second = 1}}, LinkFaults{.half_open = true}}) {
    Set(faults);
    pair.caller.Send("some bytes that may have to wait");
    timespec before{}, after{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    EXPECT_EQ(pair.caller.Receive(1, milliseconds(150)), "nothing");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    const double used =
        static_cast<double>(after.tv_sec - before.tv_sec) + static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e9;
    EXPECT_LT(used, 0.05) << "seconds of processor time";
  }
}

TEST(FaultPipeTest, JitterKeepsTheOrderAndBounds) {
  Random random(3);
  FaultPipe pipe;
  const DirectionFaults faults{.delay = milliseconds(10), .jitter = milliseconds(20)};
  for (int i = 0; i < 50; ++i)
    pipe.Put(std::string(1, static_cast<char>('a' + i % 26)), milliseconds(i), faults, &random);
  std::string arrived;
  for (MonotonicTime now{0}; arrived.size() < 50; now += milliseconds(1)) {
    ASSERT_LE(now, milliseconds(49 + 10 + 20 + 1));
    while (true) {
      const std::string_view ready = pipe.Ready(now, faults);
      if (ready.empty()) break;
      ASSERT_GE(now, milliseconds(static_cast<int>(arrived.size()) + 10));
      arrived += ready;
      pipe.Take(ready.size(), faults);
    }
  }
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(arrived[i], static_cast<char>('a' + i % 26));
}

TEST(FaultPipeTest, LimitHoldsOverTimeAndNextAtIsWhenMoreMayGo) {
  Random random(3);
  FaultPipe pipe;
  const DirectionFaults faults{.bytes_per_second = 1'000};
  pipe.Put(std::string(3'000, 'x'), MonotonicTime(0), faults, &random);
  pipe.PutEnd(MonotonicTime(0), faults, &random);
  MonotonicTime now{0};
  size_t gone = 0;
  int looks = 0;
  while (!pipe.EndReady(now, faults)) {
    ASSERT_LT(++looks, 2'000);  // two for each half of a burst
    const std::string_view ready = pipe.Ready(now, faults);
    gone += ready.size();
    EXPECT_LE(static_cast<double>(gone), 10 + std::chrono::duration<double>(now).count() * 1'000 + 1);
    if (!ready.empty()) {
      pipe.Take(ready.size(), faults);
      continue;
    }
    const auto next = pipe.NextAt(now, faults);
    ASSERT_TRUE(next.has_value());
    ASSERT_GT(*next, now);
    now = *next;
  }
  EXPECT_EQ(gone, 3'000u);
  EXPECT_NEAR(std::chrono::duration<double>(now).count(), 3.0, 0.1);
}

}  // namespace
}  // namespace terrane::testing
