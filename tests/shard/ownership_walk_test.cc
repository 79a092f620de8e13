// Every pair of a state and an entry.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/strings.h"
#include "gtest/gtest.h"
#include "ownership_support.h"

namespace terrane::shard {
namespace {

// Records of the shard whose only chunk is in the state that the name says.
std::map<std::string, Ownership> AllStates() {
  std::map<std::string, Ownership> states;
  Ownership source;
  states["none"] = source;
  source.ApplyCreateChunk(Create(), Position(1));
  states["owned"] = source;
  source.ApplyPin(PinStep(), Position(2));
  states["pinned"] = source;
  source.ApplyFence(Fence(), Position(3));
  states["write_fenced"] = source;
  source.ApplyFenceReads(FenceReads(Position(3)), Position(4));
  states["read_fenced"] = source;
  source.ApplyRelease(Release(), Position(5));
  states["released"] = source;
  Ownership target;
  target.ApplyPrepare(Prepare(), Position(1));
  states["prepared"] = target;
  target.ApplyIngest(Segment(Position(110)), Position(2));
  states["copied"] = target;
  target.FinishImportBatch(Batch(Position(100), Position(120)));
  states["caught_up"] = target;
  target.ApplyComplete(Complete(Position(120)), Position(3));
  states["complete"] = target;
  Ownership proven = target;
  const std::string_view key = "c";
  proven.AdmitWrite(To(kTargetCopy, Token(6)), {&key, 1});
  states["owner_by_proof"] = proven;
  target.ApplyOwn(Own(), Position(4));
  states["owner"] = target;
  return states;
}

using Apply = std::function<EntryResult(Ownership&)>;

// Each as it would be sent in attempt 1 of migration 7.
std::map<std::string, Apply> AllEntries() {
  const Position at(9);
  return {
      {"create", [=](Ownership& o) { return o.ApplyCreateChunk(Create(), at); }},
      {"pin", [=](Ownership& o) { return o.ApplyPin(PinStep(), at); }},
      {"fence", [=](Ownership& o) { return o.ApplyFence(Fence(), at); }},
      {"fence_reads", [=](Ownership& o) { return o.ApplyFenceReads(FenceReads(Position(3)), at); }},
      {"release", [=](Ownership& o) { return o.ApplyRelease(Release(), at); }},
      {"end_source", [=](Ownership& o) { return o.ApplyEndAttempt(End(), at); }},
      {"abort_source", [=](Ownership& o) { return o.ApplyEndAttempt(End(kMove, Token(6), true), at); }},
      {"end_target", [=](Ownership& o) { return o.ApplyEndAttempt(End(kMove, Token(6), false, kTargetCopy), at); }},
      {"abort_target", [=](Ownership& o) { return o.ApplyEndAttempt(End(kMove, Token(6), true, kTargetCopy), at); }},
      {"drop_source", [=](Ownership& o) { return o.ApplyDropCopy(Drop(kSourceCopy), at); }},
      {"drop_target", [=](Ownership& o) { return o.ApplyDropCopy(Drop(kTargetCopy), at); }},
      {"prepare", [=](Ownership& o) { return o.ApplyPrepare(Prepare(), at); }},
      {"ingest", [=](Ownership& o) { return o.ApplyIngest(Segment(Position(130)), at); }},
      {"batch",
       [=](Ownership& o) {
         const auto batch = Batch(Position(120), Position(130));
         EntryResult result = o.CheckImportBatch(batch);
         if (result.outcome == Outcome::kApplied) o.FinishImportBatch(batch);
         return result;
       }},
      {"repair",
       [=](Ownership& o) {
         return o.ApplyBeginRepair(Repair({"c", "d"}, Position(130)), at);
       }},
      {"complete", [=](Ownership& o) { return o.ApplyComplete(Complete(Position(120)), at); }},
      {"own", [=](Ownership& o) { return o.ApplyOwn(Own(), at); }},
      {"split_begin",
       [=](Ownership& o) {
         terrane::v1::SplitBegin entry;
         entry.set_collection_id(kCollection.value());
         *entry.mutable_range() = ToProto(Range());
         entry.set_at("f");
         return o.ApplySplitBegin(entry, at);
       }},
  };
}

std::string StateIn(const Ownership& ownership) {
  std::string text;
  for (const OwnedChunk* chunk : ownership.All()) {
    if (!text.empty()) text += "+";
    text += StateName(chunk->state);
  }
  return text.empty() ? "none" : text;
}

// "state entry -> outcome, state afterwards"; what is not listed is refused and changes no state.
const char* const kEffects[] = {
    "none create -> applied, owned",
    "none prepare -> applied, importing",
    "owned create -> already, owned",
    "owned pin -> applied, owned",
    "owned fence -> applied, write fenced",
    "owned split_begin -> applied, owned",
    "owned prepare -> applied, owned+importing",
    "pinned create -> already, owned",
    "pinned pin -> already, owned",
    "pinned fence -> applied, write fenced",
    "pinned prepare -> applied, owned+importing",
    "write_fenced create -> already, write fenced",
    "write_fenced pin -> already, write fenced",
    "write_fenced fence -> already, write fenced",
    "write_fenced fence_reads -> applied, read fenced",
    "write_fenced release -> applied, released",
    "write_fenced end_source -> applied, owned",
    "write_fenced abort_source -> applied, owned",
    "write_fenced prepare -> applied, write fenced+importing",
    "read_fenced create -> already, read fenced",
    "read_fenced pin -> already, read fenced",
    "read_fenced fence -> already, read fenced",
    "read_fenced fence_reads -> already, read fenced",
    "read_fenced release -> applied, released",
    "read_fenced end_source -> applied, owned",
    "read_fenced abort_source -> applied, owned",
    "read_fenced prepare -> applied, read fenced+importing",
    "released create -> already, released",
    "released release -> already, released",
    "released drop_source -> applied, none",
    "released own -> already, released",
    "prepared create -> applied, owned+importing",
    "prepared prepare -> already, importing",
    "prepared ingest -> applied, importing",
    "prepared abort_target -> applied, none",
    "prepared drop_target -> applied, none",
    "copied create -> applied, owned+importing",
    "copied prepare -> already, importing",
    "copied ingest -> already, importing",
    "copied repair -> applied, importing",
    "copied abort_target -> applied, none",
    "copied drop_target -> applied, none",
    "caught_up create -> applied, owned+importing",
    "caught_up prepare -> already, importing",
    "caught_up ingest -> already, importing",
    "caught_up batch -> applied, importing",
    "caught_up repair -> applied, importing",
    "caught_up complete -> applied, complete",
    "caught_up abort_target -> applied, none",
    "caught_up drop_target -> applied, none",
    "complete pin -> already, complete",
    "complete prepare -> already, complete",
    "complete complete -> already, complete",
    "complete end_target -> applied, importing",
    "complete abort_target -> applied, none",
    "complete own -> applied, owned",
    "owner_by_proof pin -> already, owned",
    "owner_by_proof prepare -> already, owned",
    "owner_by_proof own -> already, owned",
    "owner own -> already, owned",
    "owner release -> already, owned",  // of a source copy that is gone; the migration has come to its end
    "owner split_begin -> applied, owned",
};

TEST(OwnershipWalk, EveryStateMeetsEveryEntry) {
  std::map<std::string, std::string> effects;
  for (std::string_view line : kEffects) {
    const size_t arrow = line.find(" -> ");
    effects.emplace(line.substr(0, arrow), line.substr(arrow + 4));
  }
  size_t met = 0;
  for (const auto& [state, before] : AllStates()) {
    for (const auto& [name, apply] : AllEntries()) {
      Ownership ownership = before;
      const EntryResult result = apply(ownership);
      const std::string pair = state + " " + name;
      const std::string got = StrCat(OutcomeName(result.outcome), ", ", StateIn(ownership));
      if (auto expected = effects.find(pair); expected != effects.end()) {
        ++met;
        EXPECT_EQ(got, expected->second) << pair;
      } else {
        // The end of an attempt is noted whatever there is; a drop and a release of what is gone are done.
        const bool harmless = name.starts_with("end_") || name.starts_with("abort_") || name.starts_with("drop_");
        EXPECT_TRUE(!result.ok() || harmless) << pair << ": " << got;
        EXPECT_EQ(StateIn(ownership), StateIn(before)) << pair;
      }
    }
  }
  EXPECT_EQ(met, effects.size()) << "an expectation names a pair that does not exist";
}

TEST(OwnershipWalk, EveryEntryMayRunTwice) {
  for (const auto& [state, before] : AllStates()) {
    for (const auto& [name, apply] : AllEntries()) {
      Ownership once = before;
      const EntryResult first = apply(once);
      Ownership twice = once;
      const EntryResult second = apply(twice);
      EXPECT_EQ(StateIn(twice), StateIn(once)) << state << " " << name;
      // A split that has begun is answered with its beginning.
      if (first.ok() && name != "split_begin") {
        EXPECT_TRUE(second.ok()) << state << " " << name << ": " << second.why;
      }
    }
  }
}

TEST(OwnershipWalk, NothingOfADeadAttemptHasAnEffect) {
  for (const auto& [state, before] : AllStates()) {
    Ownership dead = before;
    dead.ApplyEndAttempt(End(kMove, Token(6), false, CopyId(99)), Position(8));
    for (const auto& [name, apply] : AllEntries()) {
      if (name == "create" || name == "split_begin" || name == "release" || name == "own") continue;
      if (name.starts_with("end_") || name.starts_with("abort_") || name.starts_with("drop_")) continue;
      Ownership ownership = dead;
      EXPECT_EQ(apply(ownership).outcome, Outcome::kStaleAttempt) << state << " " << name;
      EXPECT_EQ(StateIn(ownership), StateIn(before)) << state << " " << name;
    }
  }
}

TEST(OwnershipWalk, EveryStateSurvivesItsRecords) {
  for (const auto& [state, before] : AllStates()) {
    auto loaded = Ownership::Load(before.Save());
    ASSERT_TRUE(loaded.ok()) << state;
    EXPECT_EQ(loaded->Save().SerializeAsString(), before.Save().SerializeAsString()) << state;
    for (const auto& [name, apply] : AllEntries()) {
      Ownership a = before;
      Ownership b = *loaded;
      EXPECT_EQ(apply(a).outcome, apply(b).outcome) << state << " " << name;
      EXPECT_EQ(a.Save().SerializeAsString(), b.Save().SerializeAsString()) << state << " " << name;
    }
  }
}

// What the gate says: state, is it a write, request's token compared with the recorded one, and whose copy it names.
TEST(OwnershipWalk, GateInEveryState) {
  struct Case {
    const char* state;
    CopyId copy;
    Token token;
    const char* read;
    const char* write;
  };
  const Token behind(4), equal(5), ahead(6);
  const Case cases[] = {
      {"none", kSourceCopy, equal, "stale", "stale"},           {"owned", kSourceCopy, behind, "stale", "stale"},
      {"owned", kSourceCopy, equal, "serve", "serve"},          {"owned", kSourceCopy, ahead, "proof", "proof"},
      {"owned", kTargetCopy, equal, "ahead", "ahead"},          {"owned", kTargetCopy, behind, "stale", "stale"},
      {"pinned", kSourceCopy, equal, "serve", "serve"},         {"write_fenced", kSourceCopy, behind, "stale", "stale"},
      {"write_fenced", kSourceCopy, equal, "serve", "fenced"},  {"write_fenced", kSourceCopy, ahead, "proof", "proof"},
      {"read_fenced", kSourceCopy, behind, "stale", "stale"},   {"read_fenced", kSourceCopy, equal, "fenced", "fenced"},
      {"read_fenced", kSourceCopy, ahead, "proof", "proof"},    {"released", kSourceCopy, equal, "stale", "stale"},
      {"released", kSourceCopy, ahead, "stale", "stale"},       {"released", kSourceCopy, Token(7), "ahead", "ahead"},
      {"prepared", kTargetCopy, equal, "stale", "stale"},       {"prepared", kTargetCopy, ahead, "ahead", "ahead"},
      {"caught_up", kTargetCopy, ahead, "ahead", "ahead"},      {"complete", kTargetCopy, equal, "stale", "stale"},
      {"complete", kTargetCopy, ahead, "proof", "proof"},       {"complete", kSourceCopy, ahead, "stale", "stale"},
      {"owner", kTargetCopy, equal, "stale", "stale"},          {"owner", kTargetCopy, ahead, "serve", "serve"},
      {"owner_by_proof", kTargetCopy, ahead, "serve", "serve"},
  };
  const auto name = [](const Verdict& verdict) -> std::string {
    switch (verdict.kind) {
      case Verdict::Kind::kServe:
        return "serve";
      case Verdict::Kind::kServeByProof:
        return "proof";
      case Verdict::Kind::kStaleRoute:
        return "stale";
      case Verdict::Kind::kFenced:
        return "fenced";
      case Verdict::Kind::kAhead:
        return "ahead";
    }
    return "?";
  };
  const auto states = AllStates();
  for (const Case& c : cases) {
    const Ownership& ownership = states.at(c.state);
    EXPECT_EQ(name(ownership.CheckKey(To(c.copy, c.token), "c", false)), c.read) << c.state << " " << c.token;
    EXPECT_EQ(name(ownership.CheckKey(To(c.copy, c.token), "c", true)), c.write) << c.state << " " << c.token;
    EXPECT_EQ(name(ownership.Check(To(c.copy, c.token), {"c", "d"}, true)), c.write) << c.state << " " << c.token;
  }
}

}  // namespace
}  // namespace terrane::shard
