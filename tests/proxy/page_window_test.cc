#include "proxy/page_window.h"

#include <gtest/gtest.h>

#include <vector>

namespace terrane::proxy {
namespace {

// A walk of pages 1 to `last` over a client whose answers come when the test says so.
class PageWindowTest : public testing::Test {
 protected:
  void Page(int page) {
    if (page == last_) {
      sent_.push_back(page);
      ended_ = true;
      return;
    }
    window_->Write(
        [this, page](PageWindow::GoOn written) {
          if (before_ && page == 2) before_();
          sent_.push_back(page);
          if (broken_) return written(false);
          written_.push_back(std::move(written));
        },
        [this, page](bool ok) {
          if (ok) {
            Page(page + 1);
          } else {
            ended_ = true;
          }
        });
  }
  void Written(size_t page, bool ok = true) { std::exchange(written_[page - 1], nullptr)(ok); }

  const std::shared_ptr<PageWindow> window_ = std::make_shared<PageWindow>(2);
  std::vector<int> sent_;
  std::vector<PageWindow::GoOn> written_;
  std::function<void()> before_;  // page 2 is handed on
  int last_ = 100;
  bool broken_ = false;
  bool ended_ = false;
};

TEST_F(PageWindowTest, TheWalkIsAtMostTwoPagesAhead) {
  Page(1);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2}));
  Written(1);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2, 3}));
  Written(2);
  Written(3);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(PageWindowTest, NoPageOvertakesOneThatIsJustBeingHandedOn) {
  before_ = [this] { Written(1); };  // another thread
  last_ = 4;
  Page(1);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2, 3}));
  Written(2);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_TRUE(ended_);
}

TEST_F(PageWindowTest, TheWalkEndsWhenNobodyReadsAnyMore) {
  Page(1);
  Written(1, false);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2}));
}

TEST_F(PageWindowTest, TheWalkEndsAlsoWhenThatIsSaidRightThere) {
  broken_ = true;
  Page(1);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(sent_, (std::vector<int>{1}));
}

TEST_F(PageWindowTest, ItIsRememberedUntilTheNextPage) {
  before_ = [this] { Written(1, false); };
  Page(1);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(sent_, (std::vector<int>{1, 2}));
}

}  // namespace
}  // namespace terrane::proxy
