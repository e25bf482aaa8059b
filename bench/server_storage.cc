// server_storage: small objects in and out of a bucket by many threads, without HTTP in between, at
// both levels of durability; and a large object through it.

#include <atomic>
#include <thread>

#include "bench/support.h"
#include "server/storage/bucket_set.h"

namespace sqlite_s3::bench {
namespace {

using server::Bucket;

constexpr int kThreads = 32;
constexpr size_t kSmall = 4096;

void Check(const server::StorageStatus& status, const std::string& what) {
  if (!status.ok()) {
    Die(what + ": " + status.ToString());
  }
}

struct Rate {
  double per_second;
  double p99_ms;
};

// `operation(thread, n)` by kThreads threads for `seconds`.
template <typename Operation>
Rate Hammer(double seconds, const Operation& operation) {
  std::vector<std::vector<double>> latencies(kThreads);
  std::vector<std::thread> threads;
  const double begin = Now();
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto& mine = latencies[static_cast<size_t>(t)];
      int n = 0;
      do {  // once at least, however late it begins: it reads what it has written
        const double start = Now();
        operation(t, n++);
        mine.push_back(1e3 * (Now() - start));
      } while (Now() - begin < seconds);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  const double elapsed = Now() - begin;
  std::vector<double> all;
  for (const auto& some : latencies) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return {static_cast<double>(all.size()) / elapsed, Quantile(all, 0.99)};
}

void PrintOne(const std::string& name, const std::string& unit, double value) {
  Figure figure{.name = name, .unit = unit};
  figure.ours = value;
  Print(figure);
}

void Run(const Arguments& arguments) {
  const double seconds = arguments.Duration(0.5, 5, 30);
  for (bool full : {false, true}) {
    Scratch scratch;
    server::StorageOptions options;
    options.synchronous = full ? server::Synchronous::kFull : server::Synchronous::kNormal;
    auto set = Must(server::BucketSet::Open(scratch.path(), options), "open the directory");
    auto created = set->Create("bench", "bench");
    Check(created.status(), "create the bucket");
    Bucket& bucket = **created;
    const std::string level = full ? ".full" : ".normal";
    const Bytes body(kSmall, uint8_t{'x'});
    auto key = [](int t, int n) {
      std::string text = std::to_string(t);
      text += '/';
      return text += std::to_string(n);
    };
    std::vector<int> put(kThreads, 0);
    Rate puts = Hammer(seconds, [&](int t, int n) {
      server::PutRequest request;
      request.key = key(t, n);
      request.etag = "d41d8cd98f00b204e9800998ecf8427e";
      request.attributes.content_type = "application/octet-stream";
      Check(bucket.PutBytes(request, body).status(), "put");
      put[static_cast<size_t>(t)] = n + 1;
    });
    PrintOne("server_storage.put_4k" + level, "PUT/s", puts.per_second);
    PrintOne("server_storage.put_4k_p99" + level, "ms", puts.p99_ms);
    auto stats = bucket.Stats();
    PrintOne("server_storage.group" + level, "PUTs per transaction",
             static_cast<double>(stats.operations) / static_cast<double>(stats.transactions));
    PrintOne("server_storage.wal" + level, "MiB", static_cast<double>(stats.wal_bytes) / (1 << 20));
    if (full) {
      continue;
    }
    Rate gets = Hammer(seconds, [&](int t, int n) {
      auto opened = bucket.Open(key(t, n % put[static_cast<size_t>(t)]), {});
      Check(opened.status(), "open");
      Check(opened->body->Next().status(), "read");
    });
    PrintOne("server_storage.get_4k", "GET/s", gets.per_second);
    PrintOne("server_storage.get_4k_p99", "ms", gets.p99_ms);

    const size_t large = size_t{arguments.quick ? 16U : 512U} << 20;
    const Bytes chunk(1 << 20, uint8_t{'y'});
    double begin = Now();
    auto writer = bucket.NewBody();
    for (size_t at = 0; at < large; at += chunk.size()) {
      Check(writer->Append(chunk), "append");
    }
    server::PutRequest request;
    request.key = "large";
    Check(bucket.Put(request, writer.get()).status(), "publish");
    PrintOne("server_storage.put_large", "MiB/s",
             static_cast<double>(large >> 20) / (Now() - begin));
    begin = Now();
    auto opened = bucket.Open("large", {});
    Check(opened.status(), "open");
    while (true) {
      auto piece = opened->body->Next();
      Check(piece.status(), "read");
      if (piece->empty()) {
        break;
      }
    }
    PrintOne("server_storage.get_large", "MiB/s",
             static_cast<double>(large >> 20) / (Now() - begin));
    begin = Now();
    size_t listed = 0;
    server::ListRequest list;
    while (true) {
      auto page = bucket.List(list);
      Check(page.status(), "list");
      listed += page->objects.size();
      if (!page->is_truncated) {
        break;
      }
      list.start_after = page->next_marker;
    }
    PrintOne("server_storage.list", "keys/s", static_cast<double>(listed) / (Now() - begin));
  }
}

}  // namespace
}  // namespace sqlite_s3::bench

int main(int argc, char** argv) {
  using namespace sqlite_s3::bench;
  Run(ParseArguments(argc, argv));
  return 0;
}
