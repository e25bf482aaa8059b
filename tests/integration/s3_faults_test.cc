// Operation x fault x position: a store that refuses, resets, lies, loses its answers, is late or
// lists wrongly, below the whole product. While shipping: the application sees no error, the store
// catches up, and every commit noted restores to its bytes. While restoring: the right bytes, or an
// error and no file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/hook/sqlite_s3.h"
#include "common/os/file.h"
#include "common/store/open_store.h"
#include "common/store/retrying_store.h"
#include "tests/agent/hook/app.h"
#include "tests/support/replayer.h"
#include "tests/support/run_program.h"
#include "tests/support/s3_server.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

constexpr int kLong = 60'000;  // milliseconds; only ever waited out by a test that fails

S3Server& Server() {
  static S3Server server(SQLITE_S3_SERVER_PROGRAM);
  return server;
}

bool Longer() { return std::getenv("SQLITE_S3_LONG") != nullptr; }

std::string Quoted(const std::string& text) { return '"' + text + '"'; }

// The rule's keys besides op, skip and count.
struct Fault {
  const char* name;
  const char* keys;
};

constexpr Fault kRequestFaults[] = {
    {"refuse", R"("fault":"refuse")"},
    {"reset_after_body", R"("fault":"reset-after-body")"},
    {"answer_lost", R"("fault":"answer-lost")"},
    {"reset_in_answer", R"("fault":"reset-in-answer","bytes":10)"},
    {"truncate", R"("fault":"truncate","bytes":20)"},
    {"late", R"("fault":"delay","delay_ms":3000)"},  // beyond request_timeout
    {"error_400", R"("fault":"error","status":400,"code":"RequestTimeout")"},
    {"error_403", R"("fault":"error","status":403,"code":"AccessDenied")"},
    {"error_403_skew", R"("fault":"error","status":403,"code":"RequestTimeTooSkewed")"},
    {"error_404", R"("fault":"error","status":404,"code":"NoSuchBucket")"},
    {"error_409", R"("fault":"error","status":409,"code":"ConditionalRequestConflict")"},
    {"error_412", R"("fault":"error","status":412,"code":"PreconditionFailed")"},
    {"error_412_done",
     R"("fault":"error","status":412,"code":"PreconditionFailed","execute":true)"},
    {"error_500", R"("fault":"error","status":500,"code":"InternalError")"},
    {"error_500_done", R"("fault":"error","status":500,"code":"InternalError","execute":true)"},
    {"error_503", R"("fault":"error","status":503,"code":"SlowDown")"},
    {"error_200", R"("fault":"error","status":200,"code":"InternalError")"},
};
constexpr Fault kReadFaults[] = {
    {"wrong_body", R"("fault":"wrong-body")"},
};
constexpr Fault kListFaults[] = {
    {"list_short", R"("fault":"list-short","keys":1)"},
    {"list_stale", R"("fault":"list-stale","keys":2)"},
    {"list_unordered", R"("fault":"list-unordered")"},
    {"list_loop", R"("fault":"list-loop")"},
};

struct Case {
  std::string op;
  const Fault* fault;
  int skip;
  std::string Rule() const {
    return R"({"op":)" + Quoted(op) + "," + fault->keys + R"(,"skip":)" + std::to_string(skip) +
           R"(,"count":1})";
  }
  std::string Name() const { return op + "_" + fault->name + "_" + std::to_string(skip); }
};

// `positions`: how many requests of that operation pass first.
using Positions = std::map<std::string, std::vector<int>>;

std::vector<Case> Cases(const Positions& positions) {
  std::vector<Case> cases;
  for (const auto& [op, skips] : positions) {
    auto add = [&, name = op, at = skips](const auto& faults) {
      for (const Fault& fault : faults) {
        for (const int skip : at) {
          cases.push_back({name, &fault, skip});
        }
      }
    };
    add(kRequestFaults);
    if (op == "GetObject") {
      add(kReadFaults);
    }
    if (op == "ListObjectsV2") {
      add(kListFaults);
    }
  }
  return cases;
}

std::unique_ptr<RetryingStore> Reader(const std::string& prefix) {
  auto opened = OpenStore(Server().Address(prefix));
  EXPECT_OK(opened.status());
  return std::make_unique<RetryingStore>(std::move(opened).value(), RetryPolicy{},
                                         [](std::chrono::milliseconds) { return true; });
}

// An application that ships, and what its database was at each TXID.
class Shipped {
 public:
  Shipped(const std::string& path, const std::string& prefix) : path_(path), prefix_(prefix) {
    app_.Create(path);
  }
  ~Shipped() { (void)sqlite_s3_close(handle_, 0); }

  // The start may say that the store is away, or what it was told; it does not lie and is not
  // stuck: with the fault over it succeeds.
  void Start() {
    const std::string url = Server().Url(prefix_) + "&request_timeout=1s";
    int rc = SQLITE_S3_OK;
    for (int tries = 0; tries < 5; ++tries) {
      rc = sqlite_s3_open_connection(app_.db(), url.c_str(), "interval=0", &handle_);
      if (rc == SQLITE_S3_OK) {
        return;
      }
      told_.emplace_back(sqlite_s3_errmsg());
    }
    FAIL() << "start failed for good: " << told_.back();
  }
  void Commit(const std::string& sql) { app_.Do(sql); }
  void Note() {
    nlohmann::json status;
    do {  // until it has looked: a busy machine may keep it from that
      char* text = sqlite_s3_status(handle_);
      ASSERT_NE(text, nullptr) << sqlite_s3_errmsg();
      status = nlohmann::json::parse(text);
      sqlite_s3_free(text);
    } while (!status.at("txid_current").get<bool>());
    const Txid txid{std::stoull(status.at("txid").get<std::string>(), nullptr, 16)};
    sqlite3_int64 size = 0;
    unsigned char* bytes = sqlite3_serialize(app_.db(), "main", &size, 0);
    ASSERT_NE(bytes, nullptr);
    noted_[txid] = Bytes(bytes, bytes + size);
    sqlite3_free(bytes);
  }
  void Sync() {
    ASSERT_EQ(sqlite_s3_sync(handle_, kLong, nullptr), SQLITE_S3_OK) << sqlite_s3_errmsg();
  }
  void Check() {
    auto store = Reader(prefix_);
    std::map<Txid, Bytes> left = noted_;
    EXPECT_OK(
        ReplayAll(*store, std::nullopt, [&](Txid txid, const CommitRecord&, const Bytes& image) {
          auto it = left.find(txid);
          if (it != left.end()) {
            EXPECT_TRUE(it->second == image) << "TXID " << txid.value;
            left.erase(it);
          }
        }));
    EXPECT_TRUE(left.empty()) << left.size() << " commits are not in the replica";
  }
  const std::map<Txid, Bytes>& noted() const { return noted_; }

 private:
  App app_;
  std::string path_;
  std::string prefix_;
  sqlite_s3_handle* handle_ = nullptr;
  std::map<Txid, Bytes> noted_;
  std::vector<std::string> told_;
};

TEST(S3FaultsTest, ShippingOutlivesEveryFaultAtEveryPosition) {
  const Positions positions =
      Longer() ? Positions{{"PutObject", {0, 1, 2, 3, 4, 5, 6}},
                           {"GetObject", {0}},
                           {"ListObjectsV2", {0, 1}}}
               : Positions{{"PutObject", {0, 1, 3, 5}}, {"GetObject", {0}}, {"ListObjectsV2", {0}}};
  int number = 0;
  for (const Case& c : Cases(positions)) {
    SCOPED_TRACE(c.Name());
    TempDir dir;
    Server().ClearFaults();
    Server().AddFault(c.Rule());
    Shipped app(dir.File("app.db"), "ship-" + std::to_string(++number));
    app.Commit("create table data(a integer primary key, b)");
    ASSERT_NO_FATAL_FAILURE(app.Start());
    for (int i = 0; i < 4; ++i) {
      app.Commit("insert into data(b) values(randomblob(3000))");
      ASSERT_NO_FATAL_FAILURE(app.Note());
    }
    ASSERT_NO_FATAL_FAILURE(app.Sync());
    app.Commit("update data set b=zeroblob(10) where a=1");
    ASSERT_NO_FATAL_FAILURE(app.Note());
    ASSERT_NO_FATAL_FAILURE(app.Sync());
    EXPECT_EQ(Server().FaultHits(), 1) << "the fault was not met: nothing is proved";
    Server().ClearFaults();
    app.Check();
    if (HasFailure()) {
      break;
    }
  }
}

TEST(S3FaultsTest, ARestoreIsRightOrLeavesNoFile) {
  TempDir dir;
  Server().ClearFaults();
  Bytes expected;
  {
    Shipped app(dir.File("app.db"), "restored");
    app.Commit("create table data(a integer primary key, b)");
    ASSERT_NO_FATAL_FAILURE(app.Start());
    for (int i = 0; i < 5; ++i) {
      app.Commit("insert into data(b) values(randomblob(5000))");
      ASSERT_NO_FATAL_FAILURE(app.Sync());  // a segment each
    }
    ASSERT_NO_FATAL_FAILURE(app.Note());
    expected = app.noted().rbegin()->second;
  }
  const std::string url = Server().Url("restored") + "&request_timeout=1s";
  const Positions positions =
      Longer() ? Positions{{"GetObject", {0, 1, 2, 3, 4, 5}}, {"ListObjectsV2", {0, 1, 2}}}
               : Positions{{"GetObject", {0, 2, 4}}, {"ListObjectsV2", {0, 1}}};
  int number = 0;
  int refused = 0;
  for (const Case& c : Cases(positions)) {
    SCOPED_TRACE(c.Name());
    Server().ClearFaults();
    Server().AddFault(c.Rule());
    const std::string target = dir.File("restored-" + std::to_string(++number));
    const ProgramResult result =
        RunProgram({SQLITE_S3_RESTORE_PROGRAM, url, "-o", target, "--json"});
    EXPECT_EQ(Server().FaultHits(), 1) << "the fault was not met: nothing is proved";
    auto file = ReadFile(target, 1 << 30);
    if (result.Succeeded()) {
      ASSERT_OK(file.status());
      // A list that leaves out the newest objects is a replica as it was a moment ago.
      EXPECT_TRUE(*file == expected || std::string(c.fault->name) == "list_stale");
    } else {
      ++refused;
      EXPECT_EQ(file.code(), StatusCode::kNotFound);
      EXPECT_THAT(result.out, ::testing::HasSubstr("error"));
    }
    if (HasFailure()) {
      break;
    }
  }
  EXPECT_LT(refused, number / 2) << "most faults are passing ones";
}

}  // namespace
}  // namespace sqlite_s3
