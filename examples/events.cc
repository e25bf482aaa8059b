// events: several threads record events, each with a connection of its own, and every commit is in
// the replica when it returns.
//
//   events DATABASE REPLICA THREADS EVENTS_PER_THREAD
//
// attach=all takes every connection that the program opens to the database, so that the threads
// know nothing of backups. durability=commit makes COMMIT wait for the replica; commits of threads
// that wait at the same time travel together.

#include <sqlite3.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sqlite_s3.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct CloseConnection {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
using Connection = std::unique_ptr<sqlite3, CloseConnection>;

Connection Open(const std::string& path) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open(path.c_str(), &db);
  Connection connection(db);
  if (rc != SQLITE_OK) {
    throw std::runtime_error(path + ": " + sqlite3_errmsg(db));
  }
  sqlite3_busy_timeout(db, 60'000);
  return connection;
}

void Run(const Connection& db, const std::string& sql) {
  if (sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    throw std::runtime_error(sql + ": " + sqlite3_errmsg(db.get()));
  }
}

void Record(const std::string& path, int thread, int events) try {
  Connection db = Open(path);
  for (int i = 0; i < events; ++i) {
    Run(db, "INSERT INTO event VALUES(unixepoch(), " + std::to_string(thread) + ", " +
                std::to_string(i) + ")");
  }
} catch (const std::exception& e) {
  std::cerr << "events: thread " << thread << ": " << e.what() << "\n";
  std::exit(1);
}

int Main(const std::string& path, const std::string& replica, int threads, int events) {
  {
    Connection db = Open(path);
    Run(db, "PRAGMA journal_mode=WAL");
    Run(db, "CREATE TABLE IF NOT EXISTS event(at INTEGER, thread INTEGER, number INTEGER)");
  }
  sqlite_s3::Shipping shipping(path, replica, "attach=all, durability=commit, interval=0");
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back(Record, path, i, events);
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  // Nothing is left to wait for; the mark makes this moment easy to find again.
  std::uint64_t txid = shipping.Mark("recorded", std::chrono::seconds(30));
  std::cout << threads * events << " events, restore point " << sqlite_s3::TxidText(txid) << "\n";
  shipping.Close(std::chrono::seconds(10));
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) {
    std::cerr << "usage: events DATABASE REPLICA THREADS EVENTS_PER_THREAD\n";
    return 2;
  }
  return Main(argv[1], argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
} catch (const sqlite_s3::Error& e) {
  std::cerr << "events: " << e.what() << " (code " << e.code() << ")\n";
  return 1;
} catch (const std::exception& e) {
  std::cerr << "events: " << e.what() << "\n";
  return 1;
}
