#include "raft/log_view.h"

#include <gtest/gtest.h>

#include "raft/progress.h"

namespace terrane::raft {
namespace {

LogView MakeLog(Position base, Term base_term, std::vector<uint64_t> terms) {
  LogView log;
  log.Reset(base, base_term);
  for (uint64_t term : terms) log.Append({Term(term), log.last() + 1, EntryType::kNormal, "x"});
  return log;
}

TEST(LogViewTest, KnowsTermsFromItsBaseToItsEnd) {
  LogView log = MakeLog(Position(10), Term(3), {3, 4});
  EXPECT_EQ(log.TermAt(Position(9)), std::nullopt);
  EXPECT_EQ(log.TermAt(Position(10)), Term(3));
  EXPECT_EQ(log.TermAt(Position(12)), Term(4));
  EXPECT_EQ(log.TermAt(Position(13)), std::nullopt);
}

TEST(LogViewTest, LastNotNewerThanAgreesWithASearchOneByOne) {
  for (uint64_t base_term : {0, 2}) {
    LogView log = MakeLog(Position(5), Term(base_term), {2, 2, 3, 5, 5, 5, 8});
    for (uint64_t index = 5; index <= 14; ++index) {
      for (uint64_t term = 0; term <= 9; ++term) {
        Position expected = std::min(Position(index), log.last());
        while (expected > log.base() && *log.TermAt(expected) > Term(term)) expected = expected - 1;
        EXPECT_EQ(log.LastNotNewerThan(Position(index), Term(term)), expected) << index << " " << term;
      }
    }
  }
}

TEST(LogViewTest, CompactAndTruncateKeepCountOfBytes) {
  LogView log = MakeLog(Position(0), Term(0), {1, 1, 2, 2});
  EXPECT_EQ(log.bytes(), 4u);
  log.Compact(Position(2));
  EXPECT_EQ(log.first(), Position(3));
  EXPECT_EQ(log.base_term(), Term(1));
  log.Compact(Position(1));
  EXPECT_EQ(log.first(), Position(3)) << "already forgotten";
  log.TruncateFrom(Position(4));
  EXPECT_EQ(log.bytes(), 1u);
  log.TruncateFrom(Position(3));
  EXPECT_EQ(log.last_term(), Term(1));
}

TEST(LogViewTest, ASliceHoldsAtLeastOneEntry) {
  LogView log = MakeLog(Position(0), Term(0), {1, 1, 1});
  EXPECT_EQ(log.Slice(Position(1), Position(3), 0).size(), 1u);
  EXPECT_EQ(log.Slice(Position(1), Position(3), 2 * 33).size(), 2u);
  EXPECT_EQ(log.Slice(Position(2), Position(9), 1000).size(), 2u);
  EXPECT_EQ(log.Slice(Position(4), Position(9), 1000).size(), 0u);
}

TEST(ProgressTest, OldRejectionsChangeNothing) {
  Progress peer;
  peer.match = Position(5);
  peer.next = Position(9);
  EXPECT_FALSE(peer.Rejected(Position(6), Position(5))) << "a probe at 8 is out, not at 6";
  EXPECT_TRUE(peer.Rejected(Position(8), Position(2)));
  EXPECT_EQ(peer.next, Position(6)) << "never in front of what is known to match";
}

TEST(ConfigurationTest, DecodesWhatItEncodesAndNothingElse) {
  Configuration configuration{{ReplicaId(1), ReplicaId(7)}, {ReplicaId(9)}};
  std::string bytes = EncodeConfiguration(configuration);
  EXPECT_EQ(DecodeConfiguration(bytes), configuration);
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(DecodeConfiguration(bytes.substr(0, length)), std::nullopt) << length;
  }
  EXPECT_EQ(DecodeConfiguration(bytes + "x"), std::nullopt);
  EXPECT_EQ(DecodeConfiguration(EncodeConfiguration({{}, {ReplicaId(1)}})), std::nullopt);
  EXPECT_EQ(DecodeConfiguration(EncodeConfiguration({{ReplicaId(2), ReplicaId(1)}, {}})), std::nullopt);
  EXPECT_EQ(DecodeConfiguration(EncodeConfiguration({{ReplicaId(1)}, {ReplicaId(1)}})), std::nullopt);
  EXPECT_EQ(DecodeConfiguration(EncodeConfiguration({{ReplicaId(0)}, {}})), std::nullopt);
  EXPECT_EQ(DecodeConfiguration(std::string(16, '\xff')), std::nullopt);
}

}  // namespace
}  // namespace terrane::raft
