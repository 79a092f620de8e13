// What is decided about networks of local clusters, without making any.
#include "tools/network_namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "common/strings.h"

namespace terrane::tools {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

// As `ip -4 route show table all` prints them.
constexpr char kRoutes[] =
    "default via 192.0.2.1 dev eth0 \n"
    "0.0.0.0/1 via 10.8.0.1 dev tun0 \n"  // a default route of a VPN
    "128.0.0.0/1 via 10.8.0.1 dev tun0 \n"
    "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 \n"
    "local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1 \n"
    "broadcast 192.0.2.255 dev eth0 table local proto kernel scope link src 192.0.2.2 \n";

TEST(ChooseSubnetTest, OfTheNetworksForTests) {
  std::set<std::string> chosen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    const auto subnet = ChooseSubnet(kRoutes, random);
    ASSERT_TRUE(subnet.ok());
    EXPECT_THAT(*subnet, MatchesRegex("198\\.1[89]\\.[0-9]+\\.0/24"));
    EXPECT_EQ(OverlappingRoute(kRoutes, *subnet), "");
    chosen.insert(*subnet);
  }
  EXPECT_GT(chosen.size(), 30u);  // clusters that are made at the same time do not meet
}

TEST(ChooseSubnetTest, NeverWhatARouteCovers) {
  Random random(1);
  std::string routes = "unreachable 198.18.0.0/16 \n198.19.0.0/17 dev tun0 \n";
  for (int i = 128; i < 255; ++i) StrAppend(&routes, "198.19.", i, ".0/24 dev tn", i, " \n");
  EXPECT_EQ(ChooseSubnet(routes, random).value(), "198.19.255.0/24");
  // A single address in it is enough.
  StrAppend(&routes, "local 198.19.255.77 dev eth1 table local proto kernel scope host src 198.19.255.77 \n");
  const std::string other = ChooseSubnet(routes, random).value();
  EXPECT_THAT(other, MatchesRegex("10\\.[0-9]+\\.[0-9]+\\.0/24"));
  EXPECT_EQ(OverlappingRoute(routes, other), "");
  EXPECT_THAT(OverlappingRoute(routes, "198.19.255.0/24"), StartsWith("local 198.19.255.77 dev eth1"));
  EXPECT_THAT(OverlappingRoute(routes, "198.19.5.0/24"), HasSubstr("198.19.0.0/17"));

  StrAppend(&routes, "10.0.0.0/8 via 192.0.2.9 dev eth0 \n");
  EXPECT_TRUE(absl::IsResourceExhausted(ChooseSubnet(routes, random).status()));
}

TEST(FreeAddressTest, TheFirstThatNoProcessHas) {
  EXPECT_EQ(FreeAddress("198.18.7.0/24", {}).value(), "198.18.7.2");
  EXPECT_EQ(FreeAddress("198.18.7.0/24", {"198.18.7.2:7", "", "198.18.7.4:9", "198.18.8.3:1"}).value(), "198.18.7.3");
  std::vector<std::string> all;
  for (int i = 2; i < 255; ++i) all.push_back(StrCat("198.18.7.", i, ":1"));
  EXPECT_TRUE(absl::IsResourceExhausted(FreeAddress("198.18.7.0/24", all).status()));
  all.pop_back();
  EXPECT_EQ(FreeAddress("198.18.7.0/24", all).value(), "198.18.7.254");
}

TEST(NetworkNamesTest, AreThoseOfTheClusterAndFit) {
  const NetworkNamespaces network("3f9a1c", "198.18.7.0/24");
  EXPECT_EQ(network.CallersLink(), "tn3f9a1c");
  EXPECT_LE(network.CallersLink().size(), 15u);
  EXPECT_EQ(network.NamespaceOf("s1-a"), "terrane-3f9a1c-s1-a");
  EXPECT_EQ(network.PathOf("s1-a"), "/var/run/netns/terrane-3f9a1c-s1-a");
}

}  // namespace
}  // namespace terrane::tools
