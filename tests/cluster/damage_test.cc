// What is damaged in the directory of a replica, on real processes. With peers it is refused by name, begins again from
// them, or what was damaged is not used; alone it is refused by name, at the start or when it is read, or not used. It
// is never wrong, and nothing that was acknowledged is lost where there are three.
//
// TERRANE_LONG=1: some 50 MB instead of 2, and each kind of damage 26 times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <random>
#include <string>

#include "cluster/replica_set.h"

namespace terrane::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr uint64_t kSeed = 20261122;

// The directories that a damage may use.
struct Place {
  fs::path data;       // of the victim, which does not run
  fs::path last_week;  // a copy of it from earlier: it has been started since
  fs::path other;      // of another replica
};
struct Damage {
  const char* name;
  void (*apply)(const Place& place, std::mt19937_64* random);
};

fs::path AnyFile(const fs::path& directory, std::mt19937_64* random) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files.empty() ? fs::path() : files[(*random)() % files.size()];
}

void Edit(const fs::path& path, std::mt19937_64* random, size_t bytes, bool zero) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t size = fs::file_size(path);
  const uint64_t at = (*random)() % std::max<uint64_t>(1, size - std::min<uint64_t>(size, bytes) + 1);
  std::string content(bytes, '\0');
  file.seekg(static_cast<std::streamoff>(at));
  file.read(content.data(), static_cast<std::streamsize>(bytes));
  content.resize(static_cast<size_t>(file.gcount()));
  file.clear();
  if (zero) {
    std::fill(content.begin(), content.end(), '\0');
  } else if (!content.empty()) {
    content[0] = static_cast<char>(content[0] ^ (1 << (*random)() % 8));
  }
  file.seekp(static_cast<std::streamoff>(at));
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
}

void Replace(const fs::path& data, const fs::path& by) {
  fs::remove_all(data);
  fs::copy(by, data, fs::copy_options::recursive);
}

const Damage kDamages[] = {
    {"flipped bit in log/",
     [](const Place& place, std::mt19937_64* r) { Edit(AnyFile(place.data / "raft/log", r), r, 1, false); }},
    {"flipped bit in store/",
     [](const Place& place, std::mt19937_64* r) { Edit(AnyFile(place.data / "store", r), r, 1, false); }},
    {"flipped bit in identity",
     [](const Place& place, std::mt19937_64* r) { Edit(place.data / "raft/identity", r, 1, false); }},
    {"zeroed sector", [](const Place& place, std::mt19937_64* r) { Edit(AnyFile(place.data, r), r, 512, true); }},
    {"truncated file",
     [](const Place& place, std::mt19937_64* r) {
       const fs::path path = AnyFile(place.data, r);
       fs::resize_file(path, (*r)() % fs::file_size(path));
     }},
    {"missing file", [](const Place& place, std::mt19937_64* r) { fs::remove(AnyFile(place.data, r)); }},
    {"last week's directory", [](const Place& place, std::mt19937_64*) { Replace(place.data, place.last_week); }},
    {"another replica's directory", [](const Place& place, std::mt19937_64*) { Replace(place.data, place.other); }},
};

class DamageTest : public ReplicaSetTest {
 protected:
  int Each() const { return Long() ? 26 : 1; }
  int64_t Bytes() const { return Long() ? 45'000'000 : 2'000'000; }
  void Note(const char* damage, const std::string& outcome) { ++table_[damage][outcome]; }
  void Print() const {
    for (const auto& [what, outcomes] : table_) {
      std::cout << what << ":";
      for (const auto& [outcome, count] : outcomes) std::cout << "  " << outcome << " " << count;
      std::cout << std::endl;
    }
  }
  // A process that has ended may hold its directory for a moment.
  void StartAgain(const std::string& name) {
    absl::Status started;
    ASSERT_TRUE(Await([&] {
      started = cluster_->processes().StartProcess(name);
      return started.ok();
    })) << started;
  }

  std::mt19937_64 damage_random_{kSeed};
  std::map<std::string, std::map<std::string, int>> table_;
};

TEST_F(DamageTest, OnOneOfThreeLosesNothing) {
  Start();
  CreateLoad();
  Load(Bytes());
  StartTraffic();
  const fs::path last_week = cluster_->directory() / "last-week";
  for (const Damage& damage : kDamages) {
    for (int i = 0; i < Each() && !HasFatalFailure(); ++i) {
      ASSERT_TRUE(Await([&] { return Leader() != 0; }));
      const uint64_t victim = Leader() % 3 + 1;
      SCOPED_TRACE(StrCat(damage.name, " number ", i, " of seed ", kSeed, " on ", Name(victim)));
      if (i == 0 && std::string_view(damage.name).starts_with("last week")) {
        // Of the present victim; later another one's, which is another replica's directory.
        ASSERT_TRUE(cluster_->processes().StopProcess(Name(victim)).ok());
        fs::remove_all(last_week);
        fs::copy(Data(victim), last_week, fs::copy_options::recursive);
        const int64_t since = WallMs();
        ASSERT_NO_FATAL_FAILURE(StartAgain(Name(victim)));
        ASSERT_TRUE(Await([&] { return IsUpToDate(victim, since); }, std::chrono::seconds(60))) << LogOf(victim);
        AwaitProgress();
      }
      ASSERT_TRUE(cluster_->processes().Kill(Name(victim)).ok());
      for (const char* aside : {"raft.damaged", "store.damaged"}) fs::remove_all(Data(victim) / aside);
      const uint64_t other = 6 - victim - Leader();
      if (std::string_view(damage.name).starts_with("another")) {
        // Its files must stand still.
        ASSERT_TRUE(cluster_->processes().Pause(Name(other)).ok());
      }
      damage.apply({Data(victim), last_week, Data(other)}, &damage_random_);
      (void)cluster_->processes().Resume(Name(other)).ok();
      const size_t log_before = LogOf(victim).size();
      int64_t since = WallMs();
      const absl::Status started = cluster_->processes().StartProcess(Name(victim));
      std::string outcome;
      ASSERT_TRUE(Await(
          [&] {
            if (IsStopped(victim)) {
              outcome = "refused by name";
            } else if (IsUpToDate(victim, since)) {
              outcome = fs::exists(Data(victim) / "raft.damaged") ? "begun again from its peers" : "not used";
            }
            return !outcome.empty();
          },
          std::chrono::seconds(60)))
          << LogOf(victim).substr(log_before);
      Note(damage.name, outcome);
      if (IsStopped(victim)) {
        // The message says which file.
        EXPECT_THAT(StrCat(started.message(), LogOf(victim).substr(log_before)), HasSubstr("data"));
        fs::remove_all(Data(victim));
        since = WallMs();
        ASSERT_NO_FATAL_FAILURE(StartAgain(Name(victim)));
        ASSERT_TRUE(Await([&] { return IsUpToDate(victim, since); }, std::chrono::seconds(60))) << LogOf(victim);
      }
      AwaitProgress();
    }
  }
  Print();
  Judge();
  CheckEachReplica();
}

// Each damage begins from the same state of the shard and of the metadata service, which knows its starts.
TEST_F(DamageTest, OnASingleOneIsRefusedOrNotUsed) {
  Start({.shards = 2, .replicas = 1});
  CreateLoad();
  Load(Bytes());
  const fs::path meta = cluster_->directory() / "m1/data";
  const fs::path other = cluster_->directory() / "s2-a/data";
  const fs::path kept = cluster_->directory() / "kept";
  ASSERT_TRUE(cluster_->processes().StopProcess("s1-a").ok());
  fs::create_directories(kept);
  fs::copy(Data(1), kept / "last-week", fs::copy_options::recursive);
  ASSERT_NO_FATAL_FAILURE(StartAgain("s1-a"));
  Load(500'000);
  const int64_t documents = next_load_;
  for (const char* name : {"s1-a", "s2-a", "m1"}) ASSERT_TRUE(cluster_->processes().StopProcess(name).ok());
  fs::copy(Data(1), kept / "s1-a", fs::copy_options::recursive);
  fs::copy(meta, kept / "m1", fs::copy_options::recursive);
  fs::copy(other, kept / "s2-a", fs::copy_options::recursive);
  for (const Damage& damage : kDamages) {
    for (int i = 0; i < Each() && !HasFatalFailure(); ++i) {
      SCOPED_TRACE(StrCat(damage.name, " number ", i, " of seed ", kSeed));
      for (const char* name : {"s1-a", "s2-a", "m1"}) (void)cluster_->processes().Kill(name).ok();
      Replace(Data(1), kept / "s1-a");
      Replace(meta, kept / "m1");
      Replace(other, kept / "s2-a");
      damage.apply({Data(1), kept / "last-week", other}, &damage_random_);
      for (const char* name : {"m1", "s2-a"}) ASSERT_NO_FATAL_FAILURE(StartAgain(name));
      const size_t log_before = LogOf(1).size();
      const absl::Status started = cluster_->processes().StartProcess("s1-a");
      std::string outcome;
      CliResult checked;
      ASSERT_TRUE(Await(
          [&] {
            if (IsStopped(1)) {
              outcome = started.ok() ? "refused by name when it is read" : "refused by name";
              return true;
            }
            // Reads every document and compares with what the digests say.
            checked = cluster_->Terrane({"check", "--deadline", "10s"});
            if (checked.exit != 0) {
              // An answer that names the file that is damaged; whoever reads elsewhere is served.
              if (checked.out.find("/data/store/") == std::string::npos) return false;
              outcome = "refused by name when it is read";
              return true;
            }
            const auto count = cluster_->client().Count("test.load");
            EXPECT_EQ(count.value_or(-1), documents) << count.status();
            outcome = "not used";
            return true;
          },
          std::chrono::seconds(60)))
          << checked.out << checked.err << LogOf(1).substr(log_before);
      Note(damage.name, outcome);
      if (IsStopped(1)) {
        EXPECT_THAT(StrCat(started.message(), LogOf(1).substr(log_before)), HasSubstr("data"));
      }
    }
  }
  Print();
}

}  // namespace
}  // namespace terrane::testing
