#include "client/client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <future>
#include <mutex>

#include "document/builder.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "rpc/stream.h"
#include "rpc/unary.h"
#include "terrane/v1/cluster.grpc.pb.h"
#include "terrane/v1/documents.grpc.pb.h"

namespace terrane::client {
namespace {

using namespace std::chrono_literals;
using document::Builder;

// Answers with what a test has laid down, and keeps the requests.
class FakeProxy final : public v1::Documents::CallbackService {
 public:
  FakeProxy() { server_ = *rpc::Server::Start({}, {this}); }
  ~FakeProxy() override {
    for (const rpc::Done& done : silenced_) done(Unavailable("the end"));
    server_->Shutdown(0ms);
  }
  const std::string& address() const { return server_->address(); }
  void Shutdown() { server_->Shutdown(0ms); }

  grpc::ServerUnaryReactor* Update(grpc::CallbackServerContext* context, const v1::UpdateRequest* request,
                                   v1::UpdateResponse* response) override {
    return rpc::RunUnary(context, nullptr, [=, this](const rpc::Call& call, rpc::Done done) {
      for (int i = 0; i < resent; ++i) call.NoteResent();
      retries.push_back(request->retry());
      if (silent) return silenced_.push_back(done);
      response->set_matched(1);
      done(NextAnswer());
    });
  }
  grpc::ServerUnaryReactor* Insert(grpc::CallbackServerContext* context, const v1::InsertRequest* request,
                                   v1::InsertResponse* response) override {
    return rpc::RunUnary(context, nullptr, [=, this](const rpc::Call&, rpc::Done done) {
      retries.push_back(request->retry());
      response->set_inserted(request->documents_size());
      done(NextAnswer());
    });
  }
  // Documents {_id: n} from the resume token (a number) to 9, two a message; breaks off as laid down.
  grpc::ServerWriteReactor<v1::FindResponse>* Find(grpc::CallbackServerContext* context,
                                                   const v1::FindRequest* request) override {
    return rpc::RunStream<v1::FindResponse>(context, &finders_, [=, this](auto stream) {
      if (silent) {
        stream->OnCancel([stream] { stream->Finish(absl::CancelledError()); });
        return;
      }
      for (int i = 0; i < alive; ++i) {
        v1::FindResponse nothing_yet;
        nothing_yet.set_resume_token("0");
        stream->Write(std::move(nothing_yet));
        std::promise<void>().get_future().wait_for(150ms);  // the search goes on
      }
      int next = request->resume_token().empty() ? 0 : std::stoi(request->resume_token());
      finds.push_back(next);
      const absl::Status end = NextAnswer();
      for (int message = 0; next < 10 && (end.ok() || message < 2); ++message) {
        v1::FindResponse response;
        for (int i = 0; i < 2; ++i) response.add_documents(Builder().Append("_id", next++).Finish());
        response.set_resume_token(std::to_string(next));
        stream->WriteThen(std::move(response), [](bool) {});
      }
      stream->Finish(end);
    });
  }

  // The document {_id: n}, n the resume token or 0.
  grpc::ServerUnaryReactor* FindOne(grpc::CallbackServerContext* context, const v1::FindOneRequest* request,
                                    v1::FindOneResponse* response) override {
    return rpc::RunUnary(context, &finders_, [=, this](const rpc::Call&, rpc::Done done) {
      if (silent) return silenced_.push_back(done);
      const int here = request->resume_token().empty() ? 0 : std::stoi(request->resume_token());
      finds.push_back(here);
      if (alive > 0) {
        --alive;
        std::promise<void>().get_future().wait_for(150ms);  // the search goes on
        response->set_resume_token(std::to_string(here + 1));
        return done(request->in_steps() ? absl::OkStatus() : Internal("nobody wants to know"));
      }
      response->set_found(!empty);
      if (!empty) response->set_document(Builder().Append("_id", here).Finish());
      done(NextAnswer());
    });
  }

  std::deque<absl::Status> answers;  // of the next calls; then OK
  std::vector<v1::RetryId> retries;
  std::vector<int> finds;
  bool silent = false;
  bool empty = false;
  int alive = 0;   // how many messages without documents come first
  int resent = 0;  // what the proxy says that it sent again

 private:
  absl::Status NextAnswer() {
    if (answers.empty()) return absl::OkStatus();
    absl::Status answer = answers.front();
    answers.pop_front();
    return answer;
  }
  std::vector<rpc::Done> silenced_;
  Executor finders_{"find", 2};
  std::unique_ptr<rpc::Server> server_;
};

class ClientTest : public testing::Test {
 protected:
  FakeProxy one_, two_;
  std::unique_ptr<Client> client_ = *Client::Connect({.proxies = {one_.address(), two_.address()}});
  const std::string filter_ = Builder().Append("_id", 1).Finish();
};

TEST_F(ClientTest, TheSameStatementGoesToTheNextProxy) {
  one_.answers = {Unavailable("hold expired")};
  const auto updated = client_->Update("shop.orders", filter_, filter_);
  ASSERT_TRUE(updated.ok()) << updated.status();
  ASSERT_EQ(one_.retries.size(), 1u);
  ASSERT_EQ(two_.retries.size(), 1u);
  EXPECT_EQ(one_.retries[0].SerializeAsString(), two_.retries[0].SerializeAsString());
  EXPECT_EQ(one_.retries[0].session().size(), 16u);
}

TEST_F(ClientTest, CountsWhatIsSentAgainHereAndInTheProxy) {
  ASSERT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(client_->Retries(), 0);
  one_.answers = {Unavailable("hold expired")};
  ASSERT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(client_->Retries(), 1);
  one_.resent = two_.resent = 3;
  ASSERT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(client_->Retries(), 4);
}

TEST_F(ClientTest, ALostProxyCostsNoError) {
  ASSERT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  one_.Shutdown();
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(two_.retries.size(), 5u);
}

TEST_F(ClientTest, ASilentProxyCostsADelayAndNoError) {
  one_.silent = true;
  const auto updated = client_->Update("shop.orders", filter_, filter_, {.call = {.deadline = 1s}});
  ASSERT_TRUE(updated.ok()) << updated.status();
  ASSERT_EQ(one_.retries.size(), 1u);
  ASSERT_EQ(two_.retries.size(), 1u);
  EXPECT_EQ(one_.retries[0].SerializeAsString(), two_.retries[0].SerializeAsString());
  EXPECT_EQ(client_->Retries(), 1);
  EXPECT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(one_.retries.size(), 1u) << "it was left";
}

TEST_F(ClientTest, AFindOfOneDocumentLeavesASilentProxyToo) {
  one_.silent = true;
  const auto found = client_->FindOne("shop.orders", filter_, {.deadline = 1s});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(two_.finds.size(), 1u);
}

TEST_F(ClientTest, ALongSearchForOneDocumentGoesOnWhereItWas) {
  one_.alive = 3;  // longer than the half of the deadline that a silent proxy would have
  const auto found = client_->FindOne("shop.orders", filter_, {.deadline = 800ms});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ(document::FindDirect(**found, "_id")->AsInt32(), 3);
  EXPECT_EQ(one_.finds, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_TRUE(two_.finds.empty());
  // Another proxy goes on where the first one was.
  one_.alive = 1;
  one_.answers = {Unavailable("the proxy ends")};
  const auto elsewhere = client_->FindOne("shop.orders", filter_, {.deadline = 800ms});
  ASSERT_TRUE(elsewhere.ok() && elsewhere->has_value()) << elsewhere.status();
  EXPECT_EQ(two_.finds, (std::vector<int>{1}));
  two_.empty = true;
  const auto nothing = client_->FindOne("shop.orders", filter_);
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_FALSE(nothing->has_value());
  // A search that never ends has its deadline as a whole.
  one_.alive = two_.alive = 1000;
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(client_->FindOne("shop.orders", filter_, {.deadline = 500ms}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ClientTest, AChangeOfManyHasItsWholeTimeAndThenLeavesASilentProxy) {
  one_.silent = true;
  const Client::UpdateOptions multi{.multi = true, .call = {.deadline = 300ms}};
  const absl::Status status = client_->Update("shop.orders", filter_, filter_, multi).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(two_.retries.empty());
  EXPECT_TRUE(client_->Update("shop.orders", filter_, filter_, multi).ok());
  EXPECT_EQ(one_.retries.size(), 1u);
}

TEST_F(ClientTest, WhenAllAreSilentTheDeadlineHolds) {
  one_.silent = two_.silent = true;
  const auto began = std::chrono::steady_clock::now();
  const absl::Status status = client_->Update("shop.orders", filter_, filter_, {.call = {.deadline = 300ms}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(MessageOf(status), StrCat("proxy ", two_.address(), ": no answer in time (given up after 2 attempts)"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ClientTest, StatementsOfASessionGrow) {
  ASSERT_TRUE(client_->Insert("shop.orders", {filter_, filter_, filter_}).ok());
  ASSERT_TRUE(client_->Update("shop.orders", filter_, filter_).ok());
  EXPECT_EQ(one_.retries[0].statement() + 3, one_.retries[1].statement());
}

TEST_F(ClientTest, AnswersAreNotRetried) {
  one_.answers = {rpc::WithReason(InvalidArgument("bad"), v1::ErrorDetail::BAD_UPDATE)};
  const auto updated = client_->Update("shop.orders", filter_, filter_);
  EXPECT_EQ(updated.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ReasonOf(updated.status()), v1::ErrorDetail::BAD_UPDATE);
  EXPECT_TRUE(two_.retries.empty());
}

TEST_F(ClientTest, GivesUpAtTheDeadline) {
  one_.answers.assign(1000, Unavailable("no"));
  two_.answers = one_.answers;
  const auto began = std::chrono::steady_clock::now();
  const auto inserted = client_->Insert("shop.orders", {filter_}, {.deadline = 200ms});
  EXPECT_EQ(inserted.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  EXPECT_GT(one_.retries.size() + two_.retries.size(), 2u);
}

TEST_F(ClientTest, ACursorGoesOnBehindTheLastDocument) {
  one_.answers = {Unavailable("the proxy ends")};
  two_.answers = {Unavailable("so does this one")};
  auto cursor = client_->Find("shop.orders", {});
  std::vector<int> seen;
  for (;;) {
    const auto document = cursor->Next();
    ASSERT_TRUE(document.ok()) << document.status();
    if (!*document) break;
    seen.push_back(document::FindDirect(**document, "_id")->AsInt32());
  }
  EXPECT_EQ(seen, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(one_.finds, (std::vector<int>{0, 8}));
  EXPECT_EQ(two_.finds, (std::vector<int>{4}));
}

TEST_F(ClientTest, FindOneKeepsItsDeadlineAtASilentProxy) {
  one_.silent = two_.silent = true;
  const auto began = std::chrono::steady_clock::now();
  const auto found = client_->FindOne("shop.orders", filter_, {.deadline = 200ms});
  EXPECT_EQ(found.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ClientTest, AFindGivesUpWhenAStepTakesTooLong) {
  one_.silent = two_.silent = true;
  const auto began = std::chrono::steady_clock::now();
  const auto found = client_->Find("shop.orders", {.idle_deadline = 200ms})->Next();
  EXPECT_EQ(found.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(MessageOf(found.status()), StrCat("proxy ", one_.address(), ": no answer in time"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ClientTest, ForEverIsNotOverAtOnce) {
  constexpr auto kForEver = std::chrono::milliseconds::max();
  const auto updated = client_->Update("shop.orders", filter_, filter_, {.call = {.deadline = kForEver}});
  EXPECT_TRUE(updated.ok()) << updated.status();
  const auto one = client_->FindOne("shop.orders", filter_, {.deadline = kForEver});
  EXPECT_TRUE(one.ok()) << one.status();
  const auto patient = client_->Find("shop.orders", {.idle_deadline = kForEver})->Next();
  EXPECT_TRUE(patient.ok()) << patient.status();
  const auto whole = client_->Find("shop.orders", {.deadline = kForEver})->Next();
  EXPECT_TRUE(whole.ok()) << whole.status();
  // Which the fake does not know.
  const auto check = client_->Check({}, [](const v1::CheckEvent&) {}, {.deadline = kForEver});
  EXPECT_EQ(check.status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(ClientTest, AFindThatGivesUpSaysWhatWasWrong) {
  one_.answers.assign(1000, Unavailable("shard s1 at 127.0.0.1:1: cannot connect: connection refused"));
  two_.answers = one_.answers;
  const auto began = std::chrono::steady_clock::now();
  auto cursor = client_->Find("shop.orders", {.idle_deadline = 200ms});
  absl::Status end;
  while (end.ok()) end = cursor->Next().status();
  EXPECT_THAT(std::string(MessageOf(end)), testing::StartsWith("shard s1 at 127.0.0.1:1: cannot connect"));
  EXPECT_THAT(std::string(MessageOf(end)), testing::HasSubstr("given up after"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

TEST_F(ClientTest, AnAnswerThatIsFinalIsNotGivenUp) {
  const absl::Status refused = InvalidArgument("$where is not supported");
  one_.answers = {Unavailable("the proxy ends")};
  two_.answers = {refused};
  EXPECT_EQ(client_->Update("shop.orders", filter_, filter_).status(), refused);
  EXPECT_EQ(two_.retries.size(), 1u);
}

TEST_F(ClientTest, SignsOfLifeKeepALongSearchAlive) {
  one_.alive = 5;
  const auto found = client_->Find("shop.orders", {.idle_deadline = 400ms})->Next();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(document::FindDirect(**found, "_id")->AsInt32(), 0);
  EXPECT_EQ(one_.finds.size(), 1u);
}

TEST_F(ClientTest, WhoDoesNotAnswerIsNamed) {
  one_.Shutdown();
  two_.Shutdown();
  const absl::Status status = client_->Update("shop.orders", filter_, filter_, {.call = {.deadline = 300ms}}).status();
  EXPECT_THAT(std::string(MessageOf(status)),
              testing::MatchesRegex("proxy 127.0.0.1:[0-9]+: .*\\(given up after [0-9]+ attempts\\)"));
}

// Takes every step-down, and breaks before it can say so.
class FakeCluster final : public v1::Cluster::Service {
 public:
  FakeCluster() { server_ = *rpc::Server::Start({}, {this}); }
  grpc::Status StepDown(grpc::ServerContext*, const v1::StepDownRequest*, v1::StepDownResponse*) override {
    ++asked;
    return rpc::ToGrpc(Unavailable("the connection broke"));
  }
  std::atomic<int> asked = 0;
  std::unique_ptr<rpc::Server> server_;
};

TEST(ClientClusterTest, AStepDownThatMayHaveHappenedIsNotRepeated) {
  FakeCluster cluster;
  const auto client = *Client::Connect({.proxies = {cluster.server_->address()}});
  EXPECT_EQ(client->StepDown({}, {.deadline = 300ms}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(cluster.asked, 1);
}

TEST(ClientConnectTest, WrongOptionsAreNamed) {
  EXPECT_FALSE(Client::Connect({}).ok());
  EXPECT_FALSE(Client::Connect({.proxies = {"nocolon"}}).ok());
  EXPECT_FALSE(Client::Connect({.proxies = {"127.0.0.1:1"}, .deadline = 0ms}).ok());
}

}  // namespace
}  // namespace terrane::client
