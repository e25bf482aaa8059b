// s3_load: load on one S3 endpoint through our client; bench/s3_servers.py compares servers with
// it.
//
//   s3_load ENDPOINT BUCKET put|get THREADS SECONDS [SIZE]   one JSON object: operations, p50, p99
//   s3_load ENDPOINT BUCKET fill THREADS COUNT [SIZE]        COUNT objects of SIZE bytes
//   s3_load ENDPOINT BUCKET list 1 PREFIX_COUNT              every key in pages of 1000
//
// Credentials come from the environment, as for everything else.

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "bench/support.h"
#include "common/store/open_store.h"

namespace sqlite_s3::bench {
namespace {

constexpr int kKeys = 2000;  // that `put` goes around in, and `get` reads

std::string KeyOf(uint64_t n) { return fmt::format("load/{:08}", n); }

struct Load {
  std::shared_ptr<ObjectStore> store;
  int threads = 1;
  Bytes body;
};

// Calls `one` with 0, 1, 2, ... on every thread until `more` says no; prints the rate.
template <typename More, typename One>
void Run(const Load& load, More more, One one) {
  std::atomic<uint64_t> next{0};
  std::vector<std::vector<double>> seconds(static_cast<size_t>(load.threads));
  std::vector<std::thread> threads;
  const double begin = Now();
  for (auto& mine : seconds) {
    threads.emplace_back([&] {
      for (uint64_t n = next++; more(n, Now() - begin); n = next++) {
        const double t0 = Now();
        one(n);
        mine.push_back(Now() - t0);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const double taken = Now() - begin;
  std::vector<double> all;
  for (const auto& mine : seconds) {
    all.insert(all.end(), mine.begin(), mine.end());
  }
  if (all.empty()) {
    Die("nothing was done");
  }
  const auto count = static_cast<double>(all.size());
  std::cout << fmt::format("{{\"per_second\": {:.1f}, \"p50_ms\": {:.3f}, \"p99_ms\": {:.3f}}}\n",
                           count / taken, Quantile(all, 0.5) * 1e3, Quantile(all, 0.99) * 1e3);
}

void Put(const Load& load, uint64_t n) {
  Must(load.store->Put(KeyOf(n), load.body).status(), "put");
}

int Main(int argc, char** argv) {
  if (argc < 6) {
    Die("usage: s3_load ENDPOINT BUCKET put|get|fill|list THREADS SECONDS|COUNT [SIZE]");
  }
  StoreAddress address;
  address.scheme = "s3";
  address.s3.endpoint = argv[1];
  address.s3.bucket = argv[2];
  const std::string what = argv[3];
  Load load;
  load.threads = std::atoi(argv[4]);
  const double amount = std::atof(argv[5]);
  load.body.resize(argc > 6 ? static_cast<size_t>(std::atoll(argv[6])) : 4096);
  for (size_t i = 0; i < load.body.size(); ++i) {
    load.body[i] = static_cast<uint8_t>(i * 31 + i / 251);
  }
  load.store = Must(OpenStore(address), "open");
  const auto for_seconds = [&](uint64_t, double passed) { return passed < amount; };
  if (what == "put") {
    Run(load, for_seconds, [&](uint64_t n) { Put(load, n % kKeys); });
  } else if (what == "get") {
    Run(load, for_seconds, [&](uint64_t n) {
      const Bytes got = Must(load.store->Get(KeyOf(n % kKeys), 64 << 20), "get");
      if (got.size() != load.body.size()) {
        Die("an object has the wrong size");
      }
    });
  } else if (what == "fill") {
    Run(
        load, [&](uint64_t n, double) { return static_cast<double>(n) < amount; },
        [&](uint64_t n) { Put(load, n); });
  } else if (what == "list") {
    const double begin = Now();
    const size_t keys = Must(ListAll(*load.store, "load/"), "list").size();
    std::cout << fmt::format("{{\"keys\": {}, \"seconds\": {:.3f}}}\n", keys, Now() - begin);
  } else {
    Die("unknown work '" + what + "', hint: put, get, fill, list");
  }
  return 0;
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) { return sqlite_s3::bench::Main(argc, argv); }
