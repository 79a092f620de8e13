#include "moves.h"

#include <optional>

#include "document/builder.h"
#include "document/value.h"

namespace terrane::demo {
namespace {

using terrane::v1::Migration;

constexpr std::chrono::milliseconds kAskAgain{25};  // how often a running move is looked at
constexpr std::chrono::seconds kAdminDeadline{10};

KeyRange ToRange(const terrane::v1::KeyRange& range) {
  KeyRange result{range.min(), std::nullopt};
  if (!range.unbounded()) result.max = range.max();
  return result;
}

document::ShardKeyPattern CustomerHashed() {
  auto pattern = document::ShardKeyPattern::Parse(document::Builder().Append("customer", "hashed").Finish());
  return *std::move(pattern);
}

// A customer whose documents lie in the range.
std::string CustomerIn(const KeyRange& range, const document::ShardKeyPattern& shard_key, std::string_view name) {
  for (int64_t n = 0;; ++n) {
    const std::string customer = StrCat(name, "-", n);
    const auto key = shard_key.EncodeFromDocument(document::Builder().Append("customer", customer).Finish());
    if (key.ok() && range.Contains(*key)) return customer;
  }
}

bool Ended(Migration::Stage stage) {
  return stage == Migration::DONE || stage == Migration::ABORTED || stage == Migration::ROLLED_BACK;
}

}  // namespace

PauseProbe::PauseProbe(Options options, std::string customer, TrafficProblems* problems)
    : options_(std::move(options)),
      filter_(document::Builder().Append("_id", options_.name).Append("customer", customer).Finish()),
      problems_(problems),
      journal_(options_.journal_path) {}

absl::StatusOr<std::unique_ptr<PauseProbe>> PauseProbe::Start(Options options, TrafficProblems* problems) {
  const std::string customer = CustomerIn(options.range, options.shard_key, options.name);
  std::unique_ptr<PauseProbe> probe(new PauseProbe(std::move(options), customer, problems));
  TERRANE_ASSIGN_OR_RETURN(probe->write_client_, client::Client::Connect({.proxies = {probe->options_.proxy}}));
  TERRANE_ASSIGN_OR_RETURN(probe->read_client_, client::Client::Connect({.proxies = {probe->options_.proxy}}));
  const std::string document = document::Builder()
                                   .Append("_id", probe->options_.name)
                                   .Append("customer", customer)
                                   .Append("v", int64_t{0})
                                   .Finish();
  TERRANE_ASSIGN_OR_RETURN(const client::InsertResult inserted,
                           probe->write_client_->Insert(probe->options_.collection, {document}));
  if (!inserted.errors.empty()) return Internal("inserting a probe: ", inserted.errors[0].message());
  probe->journal_.Inserted(StrCat("\"", probe->options_.name, "\""), 0);
  probe->write_thread_ = std::thread([p = probe.get()] { p->Write(p->write_client_.get()); });
  probe->read_thread_ = std::thread([p = probe.get()] { p->Read(p->read_client_.get()); });
  return probe;
}

PauseProbe::~PauseProbe() {
  if (const absl::Status status = Stop(); !status.ok()) problems_->Error(status.ToString());
}

absl::Status PauseProbe::Stop() {
  stop_ = true;
  if (!write_thread_.joinable()) return absl::OkStatus();
  write_thread_.join();
  read_thread_.join();
  problems_->retries += write_client_->Retries() + read_client_->Retries();
  return journal_.Close();
}

void PauseProbe::Write(client::Client* client) {
  int64_t value = 0;
  while (!stop_.load()) {
    const std::string update = document::Builder().Append("$set", document::Builder().Append("v", ++value)).Finish();
    const auto start = DemoClock::now();
    const auto result = client->Update(options_.collection, filter_, update);
    writes_.Add(Milliseconds(DemoClock::now() - start));
    if (!result.ok()) {
      problems_->Error(StrCat("probe write: ", result.status().ToString()));
      return;
    }
    if (result->matched != 1) {
      problems_->WrongRead(StrCat("the update of ", options_.name, " matched ", result->matched, " documents"));
      return;
    }
    journal_.Set(StrCat("\"", options_.name, "\""), value);
    acknowledged_ = value;
  }
}

void PauseProbe::Read(client::Client* client) {
  while (!stop_.load()) {
    const int64_t least = acknowledged_.load();
    const auto start = DemoClock::now();
    const auto found = client->FindOne(options_.collection, filter_);
    reads_.Add(Milliseconds(DemoClock::now() - start));
    if (!found.ok()) {
      problems_->Error(StrCat("probe read: ", found.status().ToString()));
      return;
    }
    const auto value = *found ? document::FindField(**found, "v") : std::nullopt;
    if (!value || value->AsInt64() < least) {
      problems_->WrongRead(
          StrCat(options_.name, " was read as ", value ? value->AsInt64() : -1, ", acknowledged before was ", least));
    }
  }
}

absl::StatusOr<MoveOutcome> RunMove(const std::string& proxy, const std::string& collection,
                                    const terrane::v1::Chunk& chunk, const std::string& target,
                                    const std::string& journal_path, TrafficProblems* problems,
                                    const std::atomic<bool>& cancelled,
                                    const std::function<void(const terrane::v1::ShowMigrationResponse&)>& progress) {
  TERRANE_ASSIGN_OR_RETURN(auto admin, client::Client::Connect({.proxies = {proxy}, .deadline = kAdminDeadline}));
  PauseProbe::Options probe_options{.proxy = proxy,
                                    .collection = collection,
                                    .journal_path = journal_path,
                                    .range = ToRange(chunk.range()),
                                    .name = "",
                                    .shard_key = CustomerHashed()};
  terrane::v1::MoveChunkRequest request;
  request.set_collection(collection);
  request.set_key(chunk.range().min());
  request.set_target(target);
  TERRANE_ASSIGN_OR_RETURN(const terrane::v1::MoveChunkResponse registered, admin->MoveChunk(request));
  const uint64_t id = registered.migration().id();
  probe_options.name = StrCat("probe-", id);
  TERRANE_ASSIGN_OR_RETURN(const std::unique_ptr<PauseProbe> probe,
                           PauseProbe::Start(std::move(probe_options), problems));
  const auto start = DemoClock::now();
  MoveOutcome outcome;
  while (true) {
    if (cancelled.load()) return absl::CancelledError("interrupted");
    TERRANE_ASSIGN_OR_RETURN(const terrane::v1::ShowMigrationResponse shown, admin->ShowMigration(id));
    progress(shown);
    if (Ended(shown.migration().stage())) {
      outcome.migration = shown.migration();
      break;
    }
    std::this_thread::sleep_for(kAskAgain);
  }
  const double seconds = Milliseconds(DemoClock::now() - start) / 1000;
  TERRANE_RETURN_IF_ERROR(probe->Stop());
  outcome.write_pause_ms = probe->writes().Percentile(1);
  outcome.read_pause_ms = probe->reads().Percentile(1);
  outcome.probe_writes_per_s = seconds > 0 ? static_cast<double>(probe->writes().count()) / seconds : 0;
  if (outcome.migration.stage() != Migration::DONE) {
    return FailedPrecondition("move ", id, " ended as ", Migration::Stage_Name(outcome.migration.stage()), ": ",
                              outcome.migration.reason());
  }
  return outcome;
}

}  // namespace terrane::demo
