#include "support/history_workload.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_format.h"
#include "common/random.h"
#include "document/builder.h"
#include "document/value.h"
#include "support/linearizability.h"

namespace terrane::testing {
namespace {

using document::Builder;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Type = Operation::Type;

// Not an effect, perhaps: the deadline came first.
bool Unknown(const absl::Status& status) {
  return absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status);
}

}  // namespace

// One client: runs in a thread of its own; its records are read when that has ended.
class HistoryWorkload::ClientLoop {
 public:
  ClientLoop(HistoryWorkload* workload, int number, std::unique_ptr<client::Client> client)
      : w_(*workload),
        number_(number),
        is_guest_(number >= workload->options_.clients),
        only_reads_(is_guest_ && number % 2 == 1),
        client_(std::move(client)),
        random_(static_cast<uint64_t>(number) + 1) {}

  void Run() {
    while (!w_.stop_) {
      const int places =
          is_guest_ ? w_.options_.registers : w_.options_.registers + w_.options_.counters + w_.options_.lists;
      const size_t place = random_.Below(static_cast<uint64_t>(places));
      Document* document = w_.DocumentAt(place);
      const bool impatient = is_guest_ || (w_.options_.impatient > 0 && random_.OneIn(w_.options_.impatient));
      const milliseconds deadline = impatient ? w_.options_.short_deadline : w_.options_.deadline;
      const absl::Status status = Perform(Choose(document), document, deadline);
      if (!status.ok()) return w_.Fail(status);
      if (document->model == Model::kList && document->pushed >= w_.options_.longest_list) Renew(document, place);
    }
  }

  // One read of a document that must succeed.
  absl::Status ReadAtLast(Document* document) {
    Operation read;
    const size_t before = records_.size();
    TERRANE_RETURN_IF_ERROR(Perform(read, document, std::chrono::seconds(30)));
    if (records_.size() == before) return Unavailable("the last read of ", document->id, " found nobody");
    return absl::OkStatus();
  }

  const std::vector<std::pair<Document*, Operation>>& records() const { return records_; }
  int64_t reads_given_up() const { return reads_given_up_; }

 private:
  Operation Choose(Document* document) {
    Operation operation;
    if (only_reads_ || random_.OneIn(2)) return operation;
    operation.value = ++w_.last_value_;
    switch (document->model) {
      case Model::kRegister: {
        if (is_guest_) {
          operation.type = Type::kCompareAndSet;
          operation.expected = document->acknowledged;
          break;
        }
        const auto seen = last_seen_.find(document);
        operation.type = seen != last_seen_.end() && random_.OneIn(3) ? Type::kCompareAndSet : Type::kWrite;
        if (operation.type == Type::kCompareAndSet) operation.expected = seen->second;
        break;
      }
      case Model::kCounter:
        operation.type = Type::kAdd;
        operation.value = 1;
        break;
      case Model::kList:
        operation.type = Type::kPush;
        ++document->pushed;
        break;
    }
    return operation;
  }

  nanoseconds Now() const { return std::chrono::steady_clock::now() - w_.start_; }

  // An error: something that must not be.
  absl::Status Perform(Operation operation, Document* document, milliseconds deadline) {
    operation.client = number_;
    operation.invoked = Now();
    absl::Status status;
    if (operation.type == Type::kRead) {
      status = Read(&operation, *document, deadline);
    } else {
      status = Change(&operation, *document, deadline);
    }
    operation.returned = Now();
    if (Unknown(status)) {
      if (operation.type == Type::kRead) {
        ++reads_given_up_;
        return absl::OkStatus();
      }
      operation.returned = Operation::kNever;
      operation.applied = true;
    } else if (!status.ok()) {
      return Annotate(status, StrCat(Describe(operation, document->model), " of ", document->id));
    } else {
      ++w_.succeeded_;
      if (operation.type != Type::kRead) ++w_.acknowledged_writes_;
      if (document->model == Model::kRegister && (operation.type != Type::kCompareAndSet || operation.applied)) {
        last_seen_[document] = operation.value;
        if (operation.type != Type::kRead) document->acknowledged = operation.value;
      }
    }
    records_.emplace_back(document, std::move(operation));
    return absl::OkStatus();
  }

  absl::Status Read(Operation* operation, const Document& document, milliseconds deadline) {
    TERRANE_ASSIGN_OR_RETURN(const auto found,
                             client_->FindOne(w_.options_.collection, Builder().Append("_id", document.id).Finish(),
                                              {.deadline = deadline}));
    if (!found) return DataLoss("the document is not there");
    const auto value = document::FindField(*found, "v");
    if (!value) return DataLoss("the document has no value");
    if (document.model != Model::kList) {
      operation->value = value->AsInt64();
      return absl::OkStatus();
    }
    for (const auto& field : document::Fields(value->AsDocument())) operation->list.push_back(field.value.AsInt64());
    return absl::OkStatus();
  }

  absl::Status Change(Operation* operation, const Document& document, milliseconds deadline) {
    Builder filter;
    filter.Append("_id", document.id);
    std::string_view how = "$set";
    if (operation->type == Type::kAdd) how = "$inc";
    if (operation->type == Type::kPush) how = "$push";
    if (operation->type == Type::kCompareAndSet) filter.Append("v", operation->expected);
    const std::string update = Builder().Append(how, Builder().Append("v", operation->value)).Finish();
    TERRANE_ASSIGN_OR_RETURN(
        const client::UpdateResult result,
        client_->Update(w_.options_.collection, filter.Finish(), update, {.call = {.deadline = deadline}}));
    if (operation->type == Type::kCompareAndSet) {
      operation->applied = result.matched == 1;
    } else if (result.matched != 1) {
      return DataLoss("the document is not there");
    }
    return absl::OkStatus();
  }

  void Renew(Document* document, size_t place) {
    std::unique_lock lock(document->renewing, std::try_to_lock);
    if (!lock || w_.DocumentAt(place) != document) return;
    const absl::Status status = w_.AddDocument(client_.get(), Model::kList, place);
    if (!status.ok() && !Unknown(status)) w_.Fail(status);  // else the next one tries it
  }

  HistoryWorkload& w_;
  const int number_;
  const bool is_guest_;
  const bool only_reads_;  // no change of its own that nobody can take keeps it from reading
  const std::unique_ptr<client::Client> client_;
  Random random_;
  std::map<Document*, int64_t> last_seen_;
  std::vector<std::pair<Document*, Operation>> records_;
  int64_t reads_given_up_ = 0;
};

HistoryWorkload::HistoryWorkload(HistoryOptions options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<HistoryWorkload>> HistoryWorkload::Start(HistoryOptions options) {
  std::unique_ptr<HistoryWorkload> workload(new HistoryWorkload(std::move(options)));
  HistoryWorkload& w = *workload;
  const auto connect = [&](const std::vector<std::string>& proxies) {
    return client::Client::Connect({.proxies = proxies, .deadline = w.options_.deadline});
  };
  TERRANE_ASSIGN_OR_RETURN(w.admin_, connect(w.options_.proxies));
  terrane::v1::CreateCollectionRequest create;
  create.set_name(w.options_.collection);
  create.set_chunks(1);
  TERRANE_RETURN_IF_ERROR(w.admin_->CreateCollection(create, {.deadline = std::chrono::seconds(30)}).status());
  for (const auto& [model, count] :
       {std::pair(Model::kRegister, w.options_.registers), std::pair(Model::kCounter, w.options_.counters),
        std::pair(Model::kList, w.options_.lists)}) {
    for (int i = 0; i < count; ++i) {
      const size_t place = w.places_.size();
      w.places_.push_back(nullptr);
      TERRANE_RETURN_IF_ERROR(w.AddDocument(w.admin_.get(), model, place));
    }
  }
  for (int i = 0; i < w.options_.clients + w.options_.guests; ++i) {
    TERRANE_ASSIGN_OR_RETURN(auto client,
                             connect(i < w.options_.clients ? w.options_.proxies : w.options_.guest_proxies));
    w.loops_.push_back(std::make_unique<ClientLoop>(&w, i, std::move(client)));
  }
  for (const auto& loop : w.loops_) w.threads_.emplace_back([l = loop.get()] { l->Run(); });
  return workload;
}

HistoryWorkload::~HistoryWorkload() {
  StopClients();
}

absl::Status HistoryWorkload::AddDocument(client::Client* client, Model model, size_t place) {
  auto document = std::make_unique<Document>();
  document->model = model;
  document->id = StrCat(ModelName(model), "-", ++last_value_);
  Builder content;
  content.Append("_id", document->id);
  if (model == Model::kList) {
    content.Append("v", document::ArrayBuilder());
  } else {
    content.Append("v", int64_t{0});
  }
  const auto inserted = client->Insert(options_.collection, {content.Finish()}, {.deadline = options_.deadline});
  TERRANE_RETURN_IF_ERROR(inserted.status());
  if (!inserted->errors.empty()) return Internal("insert of ", document->id, ": ", inserted->errors[0].message());
  std::lock_guard lock(mutex_);
  places_[place] = document.get();
  documents_.push_back(std::move(document));
  return absl::OkStatus();
}

HistoryWorkload::Document* HistoryWorkload::DocumentAt(size_t place) const {
  std::lock_guard lock(mutex_);
  return places_[place];
}

std::vector<HistoryWorkload::Document*> HistoryWorkload::AllDocuments() const {
  std::lock_guard lock(mutex_);
  std::vector<Document*> all;
  for (const auto& document : documents_) all.push_back(document.get());
  return all;
}

void HistoryWorkload::Fail(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  failure_.Update(status);
  stop_ = true;
}

absl::Status HistoryWorkload::Failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void HistoryWorkload::MarkFault(std::string name) {
  const nanoseconds now = std::chrono::steady_clock::now() - start_;
  std::lock_guard lock(mutex_);
  faults_.emplace_back(std::move(name), now);
}

absl::Status HistoryWorkload::AwaitProgress(int64_t more, milliseconds limit) {
  const int64_t goal = succeeded_ + more;
  const auto end = std::chrono::steady_clock::now() + limit;
  while (succeeded_ < goal) {
    TERRANE_RETURN_IF_ERROR(Failure());
    if (std::chrono::steady_clock::now() > end) {
      return absl::DeadlineExceededError(
          StrCat("only ", succeeded_ - (goal - more), " of ", more, " operations succeeded in ", limit.count(), " ms"));
    }
    std::this_thread::sleep_for(milliseconds(1));  // between two looks at the condition
  }
  return absl::OkStatus();
}

void HistoryWorkload::StopClients() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

absl::StatusOr<HistoryResult> HistoryWorkload::Stop() {
  const nanoseconds end = std::chrono::steady_clock::now() - start_;
  StopClients();
  TERRANE_RETURN_IF_ERROR(Failure());
  for (Document* document : AllDocuments()) TERRANE_RETURN_IF_ERROR(loops_.front()->ReadAtLast(document));

  HistoryResult result;
  std::map<Document*, size_t> index;
  for (Document* document : AllDocuments()) {
    index[document] = result.histories.size();
    result.histories.push_back({document->id, document->model, 0, {}});
  }
  for (const auto& loop : loops_) {
    result.operations += loop->reads_given_up();
    result.reads_given_up += loop->reads_given_up();
    for (const auto& [document, operation] : loop->records()) {
      ++result.operations;
      if (operation.unknown()) ++result.unknown;
      result.histories[index[document]].operations.push_back(operation);
    }
  }
  result.seconds = std::chrono::duration<double>(end).count();
  result.gaps = Gaps(result.histories);
  TERRANE_RETURN_IF_ERROR(CheckLinearizable(result.histories));
  return result;
}

std::vector<Gap> HistoryWorkload::Gaps(const std::vector<DocumentHistory>& histories) const {
  std::vector<nanoseconds> successes, written;
  std::vector<std::pair<nanoseconds, nanoseconds>> writes;
  for (const DocumentHistory& history : histories) {
    for (const Operation& one : history.operations) {
      if (!one.unknown()) successes.push_back(one.returned);
      if (one.type == Type::kRead) continue;
      if (!one.unknown()) written.push_back(one.returned);
      writes.emplace_back(one.invoked, one.returned);
    }
  }
  std::sort(successes.begin(), successes.end());
  std::sort(written.begin(), written.end());
  const auto longest = [](const std::vector<nanoseconds>& moments, nanoseconds begin, nanoseconds end) {
    milliseconds gap{0};
    nanoseconds last = begin;
    for (auto at = std::upper_bound(moments.begin(), moments.end(), begin); at != moments.end(); ++at) {
      gap = std::max(gap, std::chrono::ceil<milliseconds>(*at - last));
      last = *at;
      if (last > end) break;
    }
    return gap;
  };
  std::vector<Gap> gaps;
  for (size_t i = 0; i < faults_.size(); ++i) {
    const auto& [name, begin] = faults_[i];
    const nanoseconds end = i + 1 < faults_.size() ? faults_[i + 1].second : Operation::kNever;
    Gap gap{name, longest(successes, begin, end), longest(written, begin, end), false};
    gap.write_in_flight = std::any_of(writes.begin(), writes.end(), [&, at = begin](const auto& write) {
      return write.first < at && at < write.second;
    });
    gaps.push_back(gap);
  }
  return gaps;
}

std::string HistoryResult::Summary() const {
  std::string text = absl::StrFormat(
      "%d operations in %.1f s (%.0f per second), %d of them (%.2f %%) unknown, %d reads given up, %d documents",
      operations, seconds, static_cast<double>(operations) / seconds, unknown,
      100.0 * static_cast<double>(unknown) / static_cast<double>(operations), reads_given_up, histories.size());
  if (gaps.empty()) return text;
  const auto append = [&](const char* what, milliseconds Gap::*length) {
    std::vector<int64_t> sorted;
    for (const Gap& gap : gaps) sorted.push_back((gap.*length).count());
    std::sort(sorted.begin(), sorted.end());
    const auto at = [&](double part) {
      return sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * static_cast<double>(sorted.size())))];
    };
    absl::StrAppendFormat(&text, "%s: p50 %d ms, p99 %d ms, max %d ms", what, at(0.5), at(0.99), sorted.back());
  };
  append(StrCat("; gaps of ", gaps.size(), " faults").c_str(), &Gap::without_success);
  append("; of writes", &Gap::without_write);
  return text;
}

}  // namespace terrane::testing
