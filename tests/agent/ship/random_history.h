#pragma once
// RandomHistory: everything that SQL and SQLite's API can do to a database, in random order, with
// an engine on it that is stopped, killed and cut off from its store at random moments; after every
// step the whole database is remembered, and at the end every commit must replay to exactly those
// bytes.
//
// The sequence of actions follows from the seed alone; how threads interleave does not.

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/shipped_database.h"

namespace sqlite_s3 {

class RandomHistory {
 public:
  explicit RandomHistory(uint64_t seed);
  ~RandomHistory();
  // Throws or fails the test when anything is not as it must be.
  void Run();

  size_t noted() const { return db_->noted(); }
  const std::string& description() const { return description_; }
  // What the engines said, for a failed test.
  void PrintLog();

 private:
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }
  template <typename T, size_t N>
  T Pick(const T (&from)[N]) {
    return from[random_() % N];
  }
  // What a single history does is told when it is asked for by its seed (SQLITE_S3_SEED).
  static void Trace(const std::string& what);
  std::string Blob();  // an SQL expression, about a fraction of a page, now and then several
  std::string Table() { return std::string(1, 't').append(std::to_string(Below(3))); }

  void CreateSchema();
  void Act();                 // one action of the application
  void Write(Connection& c);  // one or a few statements
  void Transaction(Connection& c);
  void BigTransaction(Connection& c);
  void SpillAndRollBack();
  void ChangeSchema();
  void Compact();
  void Checkpoint(Connection& c);
  void WriteBlobDirectly();
  void BackUpInto();
  void ReturnEarly();
  void Pragma();
  Connection& SomeConnection();
  static void Must(Connection& c, const std::string& sql);

  void Note();
  void Restart();
  void CutOff();
  void RequestImage();
  void JoinImage();
  void Check();

  std::mt19937_64 random_;
  std::string description_;
  std::unique_ptr<ShippedDatabase> db_;
  Connection other_;
  std::thread image_;
  bool away_ = false;     // the store fails
  bool settled_ = false;  // the engine's start is through
  bool image_was_lost_ = false;
  uint32_t indexes_ = 0;
};

}  // namespace sqlite_s3
