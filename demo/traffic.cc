#include "traffic.h"

#include <map>
#include <random>

#include "document/builder.h"
#include "document/value.h"
#include "orders.h"

namespace terrane::demo {
namespace {

std::string IdFilter(std::string_view id, std::string_view customer) {
  return document::Builder().Append("_id", id).Append("customer", customer).Finish();
}

std::string SetValue(int64_t value) {
  return document::Builder().Append("$set", document::Builder().Append("v", value)).Finish();
}

std::string Raise() {
  return document::Builder().Append("$inc", document::Builder().Append("n", int64_t{1})).Finish();
}

// The number in a field, or -1.
int64_t Number(const std::string& document, std::string_view field) {
  const auto value = document::FindField(document, field);
  if (!value || (value->type() != document::Type::kInt64 && value->type() != document::Type::kInt32)) return -1;
  return value->AsInt64();
}

std::string Quoted(std::string_view text) {
  return StrCat("\"", text, "\"");
}

}  // namespace

std::string CounterName(int counter) {
  return StrCat("counter-", counter);
}

void TrafficProblems::Note(std::atomic<int64_t>* counter, const std::string& text) {
  counter->fetch_add(1);
  std::lock_guard lock(mutex_);
  if (examples_.size() < 10) examples_.push_back(text);
}

std::vector<std::string> TrafficProblems::Examples() const {
  std::lock_guard lock(mutex_);
  return examples_;
}

// One client: a library client, a journal and the documents that nobody else changes.
class Traffic::ClientLoop {
 public:
  ClientLoop(Traffic* traffic, int number, std::unique_ptr<client::Client> client)
      : traffic_(traffic),
        number_(number),
        client_(std::move(client)),
        journal_(StrCat(traffic->options_.journal_directory, "/client-", number, ".journal")),
        random_(traffic->options_.seed * 1000 + static_cast<uint64_t>(number)) {}

  void Run() {
    while (!traffic_->stop_.load()) {
      const int dice = Random(100);
      if (dice < 45) {
        ReadOwn();
      } else if (dice < 50) {
        ReadCounter();
      } else if (dice < 65) {
        Insert();
      } else if (dice < 78) {
        UpdateOwn();
      } else if (dice < 84) {
        UpdateGenerated();
      } else if (dice < 94) {
        RaiseCounter();
      } else {
        Delete();
      }
    }
  }
  absl::Status Close() { return journal_.Close(); }
  int64_t Retries() const { return client_->Retries(); }

 private:
  struct Own {
    std::string id;
    std::string customer;
    int64_t value = 0;
    bool deleted = false;
  };

  int Random(int below) { return static_cast<int>(random_() % static_cast<uint64_t>(below)); }
  Own* PickOwn() { return own_.empty() ? nullptr : &own_[random_() % own_.size()]; }
  const std::string& collection() const { return traffic_->options_.collection; }

  // Runs `operation`, takes its latency, counts it. False after an error, which is noted.
  template <typename Operation>
  auto Timed(bool write, const std::string& what, Operation operation) {
    const auto start = DemoClock::now();
    auto result = operation();
    const double took = Milliseconds(DemoClock::now() - start);
    if (LatencySink* sink = traffic_->sink_.load()) (write ? sink->writes : sink->reads).Add(took);
    (write ? traffic_->writes_ : traffic_->reads_).fetch_add(1);
    if (!result.ok()) traffic_->problems_->Error(StrCat(what, ": ", result.status().ToString()));
    return result;
  }

  void Insert() {
    Own own;
    own.id = StrCat("k", number_, "-", next_++);
    own.customer = StrCat("k", Random(100'000));
    const std::string document = document::Builder()
                                     .Append("_id", own.id)
                                     .Append("customer", own.customer)
                                     .Append("v", int64_t{1})
                                     .Append("text", std::string(static_cast<size_t>(50 + Random(400)), 'x'))
                                     .Finish();
    own.value = 1;
    const auto result = Timed(true, "insert", [&] { return client_->Insert(collection(), {document}); });
    if (!result.ok()) return;
    if (!result->errors.empty()) {
      traffic_->problems_->Error(StrCat("insert ", own.id, ": ", result->errors[0].message()));
      return;
    }
    journal_.Inserted(Quoted(own.id), 1);
    own_.push_back(std::move(own));
  }

  void UpdateOwn() {
    Own* own = PickOwn();
    if (own == nullptr || own->deleted) return;
    const int64_t value = own->value + 1;
    const auto result = Timed(true, "update", [&] {
      return client_->Update(collection(), IdFilter(own->id, own->customer), SetValue(value));
    });
    if (!result.ok()) return;
    if (result->matched != 1) {
      traffic_->problems_->WrongRead(StrCat("update of ", own->id, " matched ", result->matched, " documents"));
      return;
    }
    own->value = value;
    journal_.Set(Quoted(own->id), value);
  }

  // Generated order n belongs to client n % clients.
  void UpdateGenerated() {
    const int64_t clients = traffic_->options_.clients;
    const int64_t mine = traffic_->options_.generated / clients;
    if (mine == 0) return;
    const int64_t n = static_cast<int64_t>(random_() % static_cast<uint64_t>(mine)) * clients + number_;
    const int64_t value = ++generated_value_;
    const std::string filter = document::Builder().Append("_id", n).Append("customer", CustomerOf(n)).Finish();
    const auto result = Timed(true, "update", [&] { return client_->Update(collection(), filter, SetValue(value)); });
    if (!result.ok()) return;
    if (result->matched != 1) {
      traffic_->problems_->WrongRead(StrCat("update of order ", n, " matched ", result->matched, " documents"));
      return;
    }
    journal_.Set(StrCat(n), value);
  }

  void RaiseCounter() {
    const std::string name = CounterName(Random(kCounters));
    const auto result =
        Timed(true, "$inc", [&] { return client_->Update(collection(), IdFilter(name, name), Raise()); });
    if (!result.ok()) return;
    if (result->matched != 1) {
      traffic_->problems_->WrongRead(StrCat("$inc of ", name, " matched ", result->matched, " documents"));
      return;
    }
    journal_.Raised(Quoted(name), 1);
    ++raised_[name];
  }

  void Delete() {
    Own* own = PickOwn();
    if (own == nullptr || own->deleted) return;
    const auto result =
        Timed(true, "delete", [&] { return client_->Delete(collection(), IdFilter(own->id, own->customer)); });
    if (!result.ok()) return;
    if (*result != 1) {
      traffic_->problems_->WrongRead(StrCat("delete of ", own->id, " deleted ", *result, " documents"));
      return;
    }
    own->deleted = true;
    journal_.Deleted(Quoted(own->id));
  }

  void ReadOwn() {
    Own* own = PickOwn();
    if (own == nullptr) return;
    const auto found =
        Timed(false, "find", [&] { return client_->FindOne(collection(), IdFilter(own->id, own->customer)); });
    if (!found.ok()) return;
    if (own->deleted) {
      if (*found) traffic_->problems_->WrongRead(StrCat(own->id, " was read after its deletion"));
      return;
    }
    const int64_t value = *found ? Number(**found, "v") : -1;
    if (value != own->value) {
      traffic_->problems_->WrongRead(StrCat(own->id, " was read as ", value, ", acknowledged was ", own->value));
    }
  }

  void ReadCounter() {
    const std::string name = CounterName(Random(kCounters));
    const auto found = Timed(false, "find", [&] { return client_->FindOne(collection(), IdFilter(name, name)); });
    if (!found.ok()) return;
    const int64_t value = *found ? Number(**found, "n") : -1;
    int64_t& least = seen_[name];
    if (value < std::max(least, raised_[name])) {
      traffic_->problems_->WrongRead(
          StrCat(name, " was read as ", value, ", known was ", std::max(least, raised_[name])));
    }
    least = std::max(least, value);
  }

  Traffic* const traffic_;
  const int number_;
  std::unique_ptr<client::Client> client_;
  Journal journal_;
  std::mt19937_64 random_;
  std::vector<Own> own_;
  int64_t next_ = 0;
  int64_t generated_value_ = 0;
  std::map<std::string, int64_t> raised_;  // by this client, acknowledged
  std::map<std::string, int64_t> seen_;    // greatest value read
};

Traffic::Traffic(TrafficOptions options, TrafficProblems* problems)
    : options_(std::move(options)), problems_(problems) {}

Traffic::~Traffic() {
  if (const absl::Status status = Stop(); !status.ok()) problems_->Error(status.ToString());
}

absl::Status Traffic::Prepare() {
  TERRANE_ASSIGN_OR_RETURN(auto client, client::Client::Connect({.proxies = {options_.proxy}}));
  std::vector<std::string> counters;
  Journal journal(options_.journal_directory + "/counters.journal");
  for (int i = 0; i < kCounters; ++i) {
    const std::string name = CounterName(i);
    counters.push_back(
        document::Builder().Append("_id", name).Append("customer", name).Append("n", int64_t{0}).Finish());
    journal.Raised(Quoted(name), 0);
  }
  TERRANE_ASSIGN_OR_RETURN(const client::InsertResult result, client->Insert(options_.collection, counters));
  if (!result.errors.empty()) return Internal("inserting the counters: ", result.errors[0].message());
  return journal.Close();
}

void Traffic::Start(LatencySink* sink) {
  sink_ = sink;
  for (int i = 0; i < options_.clients; ++i) {
    auto client = client::Client::Connect({.proxies = {options_.proxy}});
    if (!client.ok()) {
      problems_->Error(client.status().ToString());
      continue;
    }
    loops_.push_back(std::make_unique<ClientLoop>(this, i, *std::move(client)));
    threads_.emplace_back([loop = loops_.back().get()] { loop->Run(); });
  }
}

absl::Status Traffic::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  absl::Status status;
  for (const auto& loop : loops_) {
    problems_->retries += loop->Retries();
    status.Update(loop->Close());
  }
  loops_.clear();
  return status;
}

}  // namespace terrane::demo
