#include "routing/chunk_map.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "routing/range_proto.h"
#include "routing/route_table.h"

namespace terrane::routing {
namespace {

// "a-c@5" is [a, c) with token 5 on shard s5 (copy 50); an empty maximum is +infinity.
ChunkRoute Route(std::string_view text) {
  const size_t dash = text.find('-'), at = text.find('@');
  ChunkRoute route;
  route.range.min = text.substr(0, dash);
  if (at > dash + 1) route.range.max = std::string(text.substr(dash + 1, at - dash - 1));
  const int token = std::stoi(std::string(text.substr(at + 1)));
  route.token = Token(token);
  route.copy = CopyId(token * 10);
  route.shard = "s" + std::to_string(token);
  return route;
}
std::vector<ChunkRoute> Routes(std::string_view text) {
  std::vector<ChunkRoute> routes;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    routes.push_back(Route(text.substr(0, space)));
    text = space == std::string_view::npos ? "" : text.substr(space + 1);
  }
  return routes;
}
std::string Show(const ChunkRoutes& routes) {
  std::string text;
  routes.ForEach([&text](const ChunkRoute& route) {
    if (!text.empty()) text += ' ';
    text += route.range.min + "-" + route.range.max.value_or("") + "@" + std::to_string(route.token.value());
  });
  return text;
}
std::string After(std::string_view known, std::string_view update) {
  return Show(ChunkRoutes().With(Routes(known)).With(Routes(update)));
}

TEST(ChunkRoutesTest, AnUpdateReplacesItsRange) {
  EXPECT_EQ(After("-m@1 m-@1", "-m@2"), "-m@2 m-@1");
  EXPECT_EQ(After("-@1", "c-f@2"), "-c@1 c-f@2 f-@1");
  EXPECT_EQ(After("-c@1 c-f@1 f-@1", "a-g@2"), "-a@1 a-g@2 g-@1");
  EXPECT_EQ(After("-@1", "-m@1 m-@1"), "-m@1 m-@1") << "a split keeps its token";
  EXPECT_EQ(After("", "b-c@1"), "b-c@1");
  EXPECT_EQ(After("b-c@1", "d-e@1"), "b-c@1 d-e@1");
  EXPECT_EQ(After("d-e@1", "b-c@1"), "b-c@1 d-e@1");
}

TEST(ChunkRoutesTest, T06_ATokenNeverGoesBack) {
  EXPECT_EQ(After("-m@5 m-@1", "-m@4"), "-m@5 m-@1");
  EXPECT_EQ(After("-c@1 c-f@5 f-@1", "-@2"), "-c@2 c-f@5 f-@2");
  EXPECT_EQ(After("-c@5 c-f@1 f-@5", "a-g@2"), "-c@5 c-f@2 f-@5");
  EXPECT_EQ(After("b-d@5", "a-e@2"), "a-b@2 b-d@5 d-e@2");
  EXPECT_EQ(After("-@5", "a-e@2"), "-@5");
}

TEST(ChunkRoutesTest, T19_EdgesOfRanges) {
  const ChunkRoutes routes = ChunkRoutes().With(Routes("b-d@1 d-@2"));
  EXPECT_EQ(routes.Find("a"), nullptr);
  EXPECT_EQ(routes.Find("b")->token, Token(1));
  EXPECT_EQ(routes.Find("cz")->token, Token(1));
  EXPECT_EQ(routes.Find("d")->token, Token(2));
  EXPECT_EQ(routes.Find(std::string(100, '\xff'))->token, Token(2));
  EXPECT_EQ(routes.Overlapping({"a", "b"}).size(), 0u);
  EXPECT_EQ(routes.Overlapping({"a", std::nullopt}).size(), 2u);
  EXPECT_EQ(routes.Overlapping({"c", "d"}).size(), 1u);
}

TEST(ChunkRoutesTest, AgreesWithAPlainMapOfKeys) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto key = [](int n) {
    std::string k = "same-prefix-";  // longer than what the search compares first
    k += static_cast<char>('0' + n / 100);
    k += static_cast<char>('0' + n / 10 % 10);
    k += static_cast<char>('0' + n % 10);
    return k;
  };
  std::map<int, uint64_t> model;  // key -> token
  ChunkRoutes routes;
  for (int step = 0; step < 400; ++step) {
    std::vector<ChunkRoute> batch;
    for (int i = random() % 40; i >= 0; --i) {
      int from = random() % 999, to = from + 1 + random() % (999 - from);
      ChunkRoute route;
      route.range = {key(from), key(to)};
      route.token = Token(1 + random() % (step + 2));
      if (batch.size() > 1 && !routes.size()) break;
      batch.push_back(route);
      for (int k = from; k < to; ++k) model[k] = std::max(model[k], route.token.value());
    }
    // The order within a batch matters for nothing but equal tokens.
    routes = routes.With(batch);
    for (int k = 0; k < 999; ++k) {
      const ChunkRoute* found = routes.Find(key(k));
      ASSERT_EQ(found == nullptr ? 0 : found->token.value(), model.contains(k) ? model[k] : 0) << k;
    }
  }
}

v1::WatchEvent Event(uint64_t revision, bool snapshot, std::string_view routes) {
  v1::WatchEvent event;
  event.set_revision(revision);
  event.set_snapshot(snapshot);
  if (snapshot) {
    auto* collection = event.add_collections();
    collection->set_id(1);
    collection->set_name("shop.orders");
    collection->set_state(v1::Collection::READY);
  }
  for (const ChunkRoute& route : Routes(routes)) {
    auto* chunk = event.add_chunks();
    chunk->set_collection_id(1);
    ToProto(route.range, chunk->mutable_range());
    chunk->set_token(route.token.value());
    chunk->set_copy_id(route.copy.value());
    chunk->set_shard(route.shard);
  }
  return event;
}

v1::Route Learned(std::string_view text) {
  const ChunkRoute route = Route(text);
  v1::Route message;
  message.set_collection_id(1);
  ToProto(route.range, message.mutable_range());
  message.set_token(route.token.value());
  message.set_copy_id(route.copy.value());
  message.set_shard(route.shard);
  return message;
}

TEST(RouteTableTest, SnapshotThenDeltasThenOldNews) {
  RouteTable table;
  int told = 0;
  table.AddListener([&told](const auto&) { ++told; });
  EXPECT_TRUE(table.Apply(Event(10, true, "-m@1 m-@1")));
  const auto before = table.Get();
  EXPECT_TRUE(table.Apply(Event(11, false, "m-@2")));
  EXPECT_FALSE(table.Apply(Event(11, false, "-@9"))) << "revision 11 is known";
  EXPECT_EQ(Show(table.Get()->FindCollection("shop.orders")->chunks), "-m@1 m-@2");
  EXPECT_EQ(Show(before->FindCollection("shop.orders")->chunks), "-m@1 m-@1") << "readers keep their version";
  EXPECT_EQ(told, 2);
}

// A new leader changes no revision: the event that tells of it bears the one that everybody has.
TEST(RouteTableTest, ANewLeaderIsNewsAtAnyRevision) {
  RouteTable table;
  v1::WatchEvent event = Event(10, true, "-@1");
  v1::Shard* shard = event.add_shards();
  shard->set_name("s1");
  shard->add_replicas()->set_endpoint("a");
  shard->add_replicas()->set_endpoint("b");
  shard->set_leader_endpoint("a");
  table.Apply(event);
  v1::WatchEvent leads = Event(10, false, "-@9");
  *leads.add_shards() = *shard;
  EXPECT_FALSE(table.Apply(leads)) << "the same leader";
  leads.mutable_shards(0)->set_leader_endpoint("b");
  EXPECT_TRUE(table.Apply(leads));
  EXPECT_EQ(table.Get()->FindShard("s1")->leader, "b");
  EXPECT_EQ(Show(table.Get()->FindCollection("shop.orders")->chunks), "-@1") << "the rest of it is old";
  leads.set_revision(9);
  leads.mutable_shards(0)->set_leader_endpoint("c");
  EXPECT_FALSE(table.Apply(leads)) << "is no replica of the shard any more";
  EXPECT_EQ(table.Get()->FindShard("s1")->leader, "b");
}

TEST(RouteTableTest, ARejectionTeachesAndNoSnapshotTakesItBack) {
  RouteTable table;
  table.Apply(Event(10, true, "-m@1 m-@1"));
  EXPECT_TRUE(table.Learn(Learned("-m@3")));
  EXPECT_FALSE(table.Learn(Learned("-m@2")));
  table.Apply(Event(12, true, "-m@2 m-@2"));
  EXPECT_EQ(Show(table.Get()->FindCollection("shop.orders")->chunks), "-m@3 m-@2");
  EXPECT_EQ(table.Get()->revision(), Revision(12));
}

TEST(RouteTableTest, DroppedCollectionsGo) {
  RouteTable table;
  table.Apply(Event(10, true, "-@1"));
  v1::WatchEvent event;
  event.set_revision(11);
  event.add_dropped_collections(1);
  EXPECT_TRUE(table.Apply(event));
  EXPECT_EQ(table.Get()->FindCollection("shop.orders"), nullptr);
}

TEST(RouteTableTest, T35_AMillionChunksBlockNobody) {
  constexpr int kChunks = 1'000'000;
  v1::WatchEvent event = Event(1, true, "");
  const auto key = [](uint64_t n) {
    std::string k(8, '\0');
    n *= 0x9E3779B97F4A7C15ull / kChunks / 4;
    for (int i = 0; i < 8; ++i) k[i] = static_cast<char>(n >> (56 - 8 * i));
    return k;
  };
  for (int i = 0; i < kChunks; ++i) {
    auto* chunk = event.add_chunks();
    chunk->set_collection_id(1);
    if (i > 0) chunk->mutable_range()->set_min(key(i));
    chunk->mutable_range()->set_max(key(i + 1));
    chunk->mutable_range()->set_unbounded(i + 1 == kChunks);
    chunk->set_token(1);
    chunk->set_copy_id(i + 1);
    chunk->set_shard("s" + std::to_string(i % 1000));
  }
  RouteTable table;
  table.Apply(event);
  ASSERT_EQ(table.Get()->chunk_count(), static_cast<size_t>(kChunks));

  std::atomic<bool> stop = false;
  std::atomic<double> lookup_ns = 0;
  std::thread reader([&] {
    std::mt19937_64 random(1);
    uint64_t lookups = 0;
    const auto began = std::chrono::steady_clock::now();
    while (!stop) {
      for (int i = 0; i < 1000; ++i, ++lookups) {
        const auto map = table.Get();
        const int n = random() % kChunks;
        ASSERT_EQ(map->Find(CollectionId(1), key(n) + "x")->copy.value() % kChunks, (n + 1u) % kChunks);
      }
    }
    lookup_ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count() / lookups;
  });
  std::mt19937_64 random(2);
  std::vector<double> delta_us;
  for (int i = 0; i < 500; ++i) {
    const int n = random() % (kChunks - 1);
    v1::Route route;
    route.set_collection_id(1);
    route.mutable_range()->set_min(n > 0 ? key(n) : "");
    route.mutable_range()->set_max(key(n + 1));
    route.set_token(2 + i);
    route.set_copy_id(n + 1);
    route.set_shard("s2");
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(table.Learn(route));
    delta_us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count());
  }
  stop = true;
  reader.join();
  std::sort(delta_us.begin(), delta_us.end());
  RecordProperty("lookup_ns", std::to_string(lookup_ns));
  RecordProperty("delta_p50_us", std::to_string(delta_us[250]));
  std::printf("lookup %.0f ns, delta p50 %.0f us, p99 %.0f us\n", lookup_ns.load(), delta_us[250], delta_us[495]);
#ifndef TERRANE_SANITIZED
  EXPECT_LT(delta_us[250], 1000);
  EXPECT_LT(lookup_ns, 10'000) << "the budget is 1 us; a loaded machine may take longer";
#endif
}

}  // namespace
}  // namespace terrane::routing
