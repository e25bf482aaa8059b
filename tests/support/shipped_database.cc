#include "tests/support/shipped_database.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "tests/support/replayer.h"
#include "tests/support/run_program.h"

namespace sqlite_s3 {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(60'000);

void Must(const Status& status, const std::string& what) {
  if (!status.ok()) {
    throw std::runtime_error(what + ": " + status.ToString());
  }
}

// For whoever waits for what an engine that has ended does not bring.
void ThrowIfOver(const EngineStatus& status, const std::string& what) {
  if (status.state == EngineState::kFenced || status.state == EngineState::kFailed ||
      status.state == EngineState::kStopped) {
    throw std::runtime_error(what + EngineStateName(status.state) + ", " + status.last_error);
  }
}

// Sizes and the first pages that differ.
std::string Difference(const Bytes& expected, const Bytes& got, uint32_t page_size) {
  std::string text = std::to_string(expected.size() / page_size) + " pages expected, " +
                     std::to_string(got.size() / page_size) + " restored, different:";
  int named = 0;
  for (size_t at = 0; at < std::min(expected.size(), got.size()) && named < 8; ++at) {
    if (expected[at] != got[at]) {
      text += " page " + std::to_string(at / page_size + 1) + " from byte " +
              std::to_string(at % page_size);
      at = (at / page_size + 1) * page_size - 1;
      ++named;
    }
  }
  return text;
}

}  // namespace

int CheckpointAfterOthers(Connection& by, int mode) {
  for (;;) {
    int frames = -1;  // stays so when it could not begin
    const int rc = sqlite3_wal_checkpoint_v2(by.get(), "main", mode, &frames, nullptr);
    if (rc != SQLITE_BUSY || frames >= 0) {
      return rc;
    }
    std::this_thread::yield();
  }
}

ShippedDatabase::ShippedDatabase(const Options& options)
    : options_(options),
      path_(dir_.File("app.db")),
      faults_(std::make_shared<FaultStore>(std::make_shared<MemoryStore>("test"))) {
  if (getenv("SQLITE_S3_TEST_POOL") != nullptr && !options.own_threads) {
    pool_ = std::make_shared<WorkPool>();
  }
}

ShippedDatabase::~ShippedDatabase() {
  if (engine_) {
    (void)engine_->Stop(std::chrono::milliseconds(0));
  }
  app_.Close();
}

int ShippedDatabase::Hook(void* self, sqlite3*, const char* schema, int frames) {
  auto* db = static_cast<ShippedDatabase*>(self);
  if (db->engine_ && std::strcmp(schema, "main") == 0) {
    db->engine_->OnCommit(static_cast<uint32_t>(frames));
  }
  return SQLITE_OK;
}

Connection ShippedDatabase::OpenAnother() {
  // Long: SQLite's busy handler is not fair, and on a machine without a free core four writers
  // alone can keep a fifth waiting for ten seconds (seen without an engine, too).
  constexpr int kBusyTimeoutMs = 60'000;
  auto opened =
      Connection::Open(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "", kBusyTimeoutMs);
  Must(opened.status(), "open");
  Connection c = std::move(opened).value();
  if (engine_ && options_.announces) {
    sqlite3_wal_hook(c.get(), &Hook, this);
  }
  return c;
}

Connection& ShippedDatabase::app() {
  if (!app_) {
    app_ = OpenAnother();
    Must(app_.Exec(("PRAGMA page_size=" + std::to_string(options_.page_size)).c_str()),
         "page size");
    Must(app_.Exec(("PRAGMA auto_vacuum=" + std::to_string(options_.auto_vacuum)).c_str()),
         "auto_vacuum");
    Must(app_.Exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"), "wal");
  }
  return app_;
}

void ShippedDatabase::Exec(const std::string& sql) { Must(TryExec(sql), sql.substr(0, 200)); }

int64_t ShippedDatabase::QueryInt(const std::string& sql) {
  auto r = app().QueryInt(sql.c_str());
  Must(r.status(), sql);
  return *r;
}

void ShippedDatabase::CloseApp() { app_.Close(); }

Status ShippedDatabase::TryStart() {
  app();
  EngineConfig config;
  config.database_path = path_;
  config.options = options_.ship;
  config.checkpoint_pages = options_.checkpoint_pages;
  config.busy_frames_per_second = options_.busy_frames_per_second;
  config.store = faults_;
  config.shared_limits = options_.limits;
  config.clock = options_.clock;
  config.pool = pool_;
  config.first_retry = options_.first_retry;
  config.log = [this](LogLevel, const std::string& message) {
    std::lock_guard lock(log_mutex_);
    log_.push_back(message);
  };
  auto engine = Engine::Start(config);
  RETURN_IF_ERROR(engine.status());
  engine_ = std::move(engine).value();
  if (options_.announces) {
    sqlite3_wal_hook(app_.get(), &Hook, this);
  }
  return Status::Ok();
}

void ShippedDatabase::Start() { Must(TryStart(), "start"); }

void ShippedDatabase::Stop() {
  Must(engine_->Stop(kPatience), "stop");
  engine_.reset();
}

void ShippedDatabase::Abandon() {
  engine_->PrepareFork();
  engine_->ChildAfterFork();
  engine_.reset();
}

Txid ShippedDatabase::Now() {
  EngineStatus status = engine_->GetStatus(true);
  while (!status.txid_current) {
    ThrowIfOver(status, "no TXID will come: ");
    status = engine_->GetStatus(true);
  }
  return status.txid;
}

Txid ShippedDatabase::Note() {
  Txid txid = Now();
  noted_[txid] = Serialize();
  return txid;
}

Txid ShippedDatabase::Sync() {
  Txid txid;
  Must(engine_->Sync(kPatience, &txid), "sync");
  return txid;
}

void ShippedDatabase::WaitForImage() {
  for (EngineStatus status = engine_->GetStatus(false); !status.image_txid;
       status = engine_->GetStatus(false)) {
    ThrowIfOver(status, "no image will come: ");
    std::this_thread::yield();
  }
}

Bytes ShippedDatabase::Serialize() {
  // By a connection without a cache: a page that was freed may differ in the cache of the one that
  // freed it, for SQLite does not write such pages.
  auto fresh = Connection::Open(path_, SQLITE_OPEN_READWRITE, "", 10'000);
  Must(fresh.status(), "open");
  sqlite3_int64 size = 0;
  unsigned char* bytes = sqlite3_serialize(fresh->get(), "main", &size, 0);
  if (bytes == nullptr) {
    throw std::runtime_error("serialize failed");
  }
  Bytes copy(bytes, bytes + size);
  sqlite3_free(bytes);
  return copy;
}

void ShippedDatabase::CopyTo(const std::string& path, bool with_state) {
  std::string command = "cp '" + path_ + "' '" + path + "'; rm -f '" + path + "-wal' '" + path +
                        "-shm'; if [ -e '" + path_ + "-wal' ]; then cp '" + path_ + "-wal' '" +
                        path + "-wal'; fi";
  if (with_state) {
    command += "; cp -a '" + state_dir() + "' '" + path + "-s3'";
  }
  if (!RunProgram({"/bin/sh", "-c", command}).Succeeded()) {
    throw std::runtime_error("copy to " + path);
  }
}

void ShippedDatabase::CheckNoted() {
  std::map<Txid, Bytes> left = noted_;
  Status status =
      ReplayAll(*faults_, std::nullopt, [&](Txid txid, const CommitRecord&, const Bytes& image) {
        auto it = left.find(txid);
        if (it != left.end()) {
          EXPECT_TRUE(image == it->second) << "TXID " << txid.value << " restores to other bytes, "
                                           << Difference(it->second, image, options_.page_size);
          left.erase(it);
        }
      });
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(left.empty()) << left.size() << " noted restore points are missing, first "
                            << left.begin()->first.value;
}

void ShippedDatabase::DropNotesBeforeFirstImage() {
  Replica replica(*faults_);
  Must(replica.Open(), "open replica");
  auto images = replica.ListImages({engine_->GetStatus(false).timeline});
  Must(images.status(), "images");
  noted_.erase(noted_.begin(),
               images->empty() ? noted_.end() : noted_.lower_bound(images->front().txid));
}

void ShippedDatabase::CheckHead() {
  auto head = ReplayHead(*faults_);
  ASSERT_TRUE(head.ok()) << head.status().ToString();
  EXPECT_TRUE(*head == Serialize()) << "the head is not the live database";
}

std::vector<std::string> ShippedDatabase::log() {
  std::lock_guard lock(log_mutex_);
  return log_;
}

}  // namespace sqlite_s3
