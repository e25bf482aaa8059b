#include "common/store/object_store.h"

#include "common/store/memory_store.h"
#include "common/store/open_store.h"
#include "tests/support/fault_store.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(OpenStoreTest, UnknownSchemesAreRefusedAndTheKnownOnesNamed) {
  Result<std::shared_ptr<ObjectStore>> store = OpenStore({.scheme = "ftp"});
  ASSERT_STATUS(store, StatusCode::kInvalidArgument);
  EXPECT_THAT(store.status().message(), HasSubstr("file, s3, memory"));
}

TEST(OpenStoreTest, MemoryStoresOfOneNameAreOneStore) {
  ASSERT_OK_AND_ASSIGN(auto a, OpenStore({.scheme = "memory", .name = "open-store-a"}));
  ASSERT_OK_AND_ASSIGN(auto same, OpenStore({.scheme = "memory", .name = "open-store-a"}));
  ASSERT_OK_AND_ASSIGN(auto other, OpenStore({.scheme = "memory", .name = "open-store-b"}));
  ASSERT_OK(a->Put("k", AsBytes("v")));
  EXPECT_OK(same->Head("k"));
  EXPECT_STATUS(other->Head("k"), StatusCode::kNotFound);
}

TEST(OpenStoreTest, ADirectoryIsMadeOnlyWhenAsked) {
  TempDir dir;
  const std::string path = dir.File("a/b");
  EXPECT_STATUS(OpenStore({.scheme = "file", .path = path}), StatusCode::kNotFound);
  ASSERT_OK(OpenStore({.scheme = "file", .path = path, .create = true}));
  EXPECT_OK(OpenStore({.scheme = "file", .path = path}));
}

TEST(ValidateObjectKeyTest, MessagesHoldNothingUnprintable) {
  Status status = ValidateObjectKey("a\x1b[31m\nb");
  ASSERT_STATUS(status, StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(status.message(), Not(HasSubstr("\n")));
}

TEST(MemoryStoreTest, TimesAreOfTheClockGiven) {
  FakeClock clock(5'000'000);
  MemoryStore store("t", clock);
  ASSERT_OK_AND_ASSIGN(PutResult put, store.Put("k", {}));
  EXPECT_EQ(put.store_time_us, 5'000'000);
  clock.Advance(std::chrono::seconds(1));
  ASSERT_OK(store.PutIfAbsent("l", {}));
  ASSERT_OK_AND_ASSIGN(ObjectInfo info, store.Head("l"));
  EXPECT_EQ(info.modified_us, 6'000'000);
}

// Answers List from a script.
class ScriptedListStore : public MemoryStore {
 public:
  ScriptedListStore() : MemoryStore("scripted") {}
  Result<std::vector<ObjectInfo>> List(std::string_view, std::string_view, int) override {
    if (pages.empty()) {
      return std::vector<ObjectInfo>{};
    }
    std::vector<ObjectInfo> page;
    for (const char* key : pages.front()) {
      page.push_back({key, 0, 0});
    }
    pages.erase(pages.begin());
    return page;
  }
  std::vector<std::vector<const char*>> pages;
};

TEST(ListAllTest, AnOrderThatWouldHideObjectsIsCorruption) {
  const std::vector<std::vector<const char*>> kScripts[] = {
      {{"p/b", "p/a"}},           // within a page
      {{"p/a", "p/a"}},           // repeated
      {{"p/a", "p/b"}, {"p/b"}},  // a page that starts again
      {{"p/b"}, {"p/a"}},         // between pages
      {{"p/a", "q"}},             // outside the prefix
  };
  for (const auto& script : kScripts) {
    ScriptedListStore store;
    store.pages = script;
    EXPECT_STATUS(ListAll(store, "p/"), StatusCode::kCorruption);
  }
}

TEST(ListAllTest, AShortPageIsNotTheEnd) {
  ScriptedListStore store;
  store.pages = {{"p/a"}, {"p/b", "p/c"}, {"p/d"}};
  ASSERT_OK_AND_ASSIGN(std::vector<ObjectInfo> all, ListAll(store, "p/"));
  EXPECT_EQ(all.size(), 4u);
}

TEST(ListAllTest, AListWithoutAnEndEndsAtTheBound) {
  ScriptedListStore store;
  store.pages = {{"p/a"}, {"p/b", "p/c"}, {"p/d"}};
  EXPECT_STATUS(ListAll(store, "p/", {}, 3), StatusCode::kResourceExhausted);
  EXPECT_TRUE(store.pages.empty());
  store.pages = {{"p/a"}, {"p/b", "p/c"}};
  EXPECT_OK(ListAll(store, "p/", {}, 3));
}

TEST(ListAllTest, AnErrorOfALaterPageIsHandedOn) {
  auto memory = std::make_shared<MemoryStore>("m");
  ASSERT_OK(memory->Put("a", {}));
  FaultStore store(memory);
  store.FailCall(StoreOp::kList, 2, StatusCode::kUnavailable);
  EXPECT_STATUS(ListAll(store, ""), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace sqlite_s3
