#include "support/counter_workload.h"

#include <random>
#include <set>

#include "document/builder.h"
#include "document/value.h"

namespace terrane::test {
namespace {

std::string ById(const std::string& id) {
  return document::Builder().Append("_id", id).Finish();
}

}  // namespace

CounterWorkload::CounterWorkload(CounterOptions options)
    : options_(std::move(options)), sums_(static_cast<size_t>(options_.counters)) {}

std::string CounterWorkload::Name(int64_t n) const {
  return StrCat(n < options_.counters ? "counter-" : "ballast-", n);
}

absl::StatusOr<std::unique_ptr<CounterWorkload>> CounterWorkload::Start(CounterOptions options) {
  std::unique_ptr<CounterWorkload> workload(new CounterWorkload(std::move(options)));
  for (int i = 0; i < workload->options_.clients; ++i) {
    TERRANE_ASSIGN_OR_RETURN(auto client, client::Client::Connect({.proxies = {workload->options_.proxy},
                                                                   .deadline = workload->options_.deadline}));
    workload->clients_.push_back(std::move(client));
  }
  TERRANE_RETURN_IF_ERROR(workload->Fill());
  for (int i = 0; i < workload->options_.clients; ++i) {
    workload->threads_.emplace_back([w = workload.get(), i] { w->Run(i, w->clients_[static_cast<size_t>(i)].get()); });
  }
  return workload;
}

CounterWorkload::~CounterWorkload() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
}

absl::Status CounterWorkload::Fill() {
  terrane::v1::CreateCollectionRequest create;
  create.set_name(options_.collection);
  create.set_chunks(options_.chunks);
  TERRANE_RETURN_IF_ERROR(clients_.front()->CreateCollection(create).status());
  const int64_t total = options_.counters + options_.ballast;
  for (int64_t n = 0; n < total;) {
    std::vector<std::string> batch;
    for (; n < total && batch.size() < 500; ++n) {
      batch.push_back(document::Builder()
                          .Append("_id", Name(n))
                          .Append("n", int64_t{0})
                          .Append("pad", std::string(200, 'b'))
                          .Finish());
    }
    TERRANE_ASSIGN_OR_RETURN(const client::InsertResult result, clients_.front()->Insert(options_.collection, batch));
    if (!result.errors.empty()) return Internal("filling: ", result.errors[0].message());
  }
  return absl::OkStatus();
}

void CounterWorkload::Violation(const std::string& text) {
  std::lock_guard lock(mutex_);
  violation_.Update(Internal(text));
  stop_ = true;
}

void CounterWorkload::Run(int number, client::Client* client) {
  std::minstd_rand random(static_cast<unsigned>(number + 1));
  const std::string raise = document::Builder().Append("$inc", document::Builder().Append("n", int64_t{1})).Finish();
  while (!stop_.load()) {
    const size_t counter = random() % sums_.size();
    const std::string name = Name(static_cast<int64_t>(counter));
    const auto raised = client->Update(options_.collection, ById(name), raise);
    if (!raised.ok()) return Violation(StrCat("$inc of ", name, ": ", raised.status().ToString()));
    if (raised->matched != 1) return Violation(StrCat("$inc of ", name, " matched ", raised->matched, " documents"));
    sums_[counter].fetch_add(1);
    acknowledged_.fetch_add(1);

    const size_t other = random() % sums_.size();
    const int64_t least = sums_[other].load();
    const auto found = client->FindOne(options_.collection, ById(Name(static_cast<int64_t>(other))));
    if (!found.ok()) return Violation(StrCat("find: ", found.status().ToString()));
    const auto value = *found ? document::FindField(**found, "n") : std::nullopt;
    if (!value || value->AsInt64() < least) {
      return Violation(StrCat(Name(static_cast<int64_t>(other)), " was read as ", value ? value->AsInt64() : -1,
                              ", acknowledged before were ", least));
    }
  }
}

absl::Status CounterWorkload::AwaitProgress(int64_t more) {
  const int64_t goal = acknowledged_.load() + more;
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (acknowledged_.load() < goal) {
    if (stop_.load()) {
      std::lock_guard lock(mutex_);
      return violation_;
    }
    if (std::chrono::steady_clock::now() > end) return absl::DeadlineExceededError("the clients make no progress");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // between two looks at the condition
  }
  return absl::OkStatus();
}

absl::Status CounterWorkload::StopAndVerify() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  TERRANE_RETURN_IF_ERROR(violation_);
  std::set<std::string> seen;
  const auto cursor = clients_.front()->Find(options_.collection, {});
  while (true) {
    TERRANE_ASSIGN_OR_RETURN(const std::optional<std::string> document, cursor->Next());
    if (!document) break;
    const std::string id(document::FindField(*document, "_id")->AsString());
    if (!seen.insert(id).second) return Internal(id, " was found twice");
    if (id.rfind("counter-", 0) != 0) continue;
    const size_t counter = static_cast<size_t>(std::stoll(id.substr(8)));
    const int64_t value = document::FindField(*document, "n")->AsInt64();
    if (value != sums_[counter].load()) {
      return Internal(id, " is ", value, ", acknowledged increments are ", sums_[counter].load());
    }
  }
  const size_t expected = static_cast<size_t>(options_.counters + options_.ballast);
  if (seen.size() != expected) return Internal("found ", seen.size(), " documents of ", expected);
  return absl::OkStatus();
}

}  // namespace terrane::test
