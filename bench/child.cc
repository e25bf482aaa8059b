#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "bench/support.h"
#include "common/store/open_store.h"

namespace sqlite_s3::bench {
namespace {

struct Request {
  int what;
  double n;
};

bool ReadAll(int fd, void* to, size_t size) {
  char* at = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t got = read(fd, at, size);
    if (got <= 0) {
      return false;
    }
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool WriteAllTo(int fd, const void* from, size_t size) {
  const char* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t put = write(fd, at, size);
    if (put <= 0) {
      return false;
    }
    at += put;
    size -= static_cast<size_t>(put);
  }
  return true;
}

}  // namespace

Child::Child(const std::function<Handler()>& make) {
  int there[2];
  int back[2];
  if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) {
    Die("pipe");
  }
  std::fflush(stdout);
  pid_ = fork();
  if (pid_ < 0) {
    Die("fork");
  }
  if (pid_ == 0) {
    close(there[1]);
    close(back[0]);
    {
      Handler handler = make();
      Request request{};
      while (ReadAll(there[0], &request, sizeof(request))) {
        const std::vector<double> answer = handler(request.what, request.n);
        const uint64_t count = answer.size();
        if (!WriteAllTo(back[1], &count, sizeof(count)) ||
            !WriteAllTo(back[1], answer.data(), count * sizeof(double))) {
          break;
        }
      }
    }
    std::_Exit(0);
  }
  close(there[0]);
  close(back[1]);
  to_ = there[1];
  from_ = back[0];
}

Child::~Child() {
  close(to_);
  int status = 0;
  waitpid(pid_, &status, 0);
  close(from_);
}

std::vector<double> Child::Ask(int what, double n) {
  Request request{what, n};
  uint64_t count = 0;
  if (!WriteAllTo(to_, &request, sizeof(request)) || !ReadAll(from_, &count, sizeof(count))) {
    Die("the child process is gone");
  }
  std::vector<double> answer(count);
  if (!ReadAll(from_, answer.data(), count * sizeof(double))) {
    Die("the child process is gone");
  }
  return answer;
}

std::shared_ptr<ObjectStore> DirectoryStoreAt(const std::string& path) {
  StoreAddress address;
  address.scheme = "file";
  address.path = path;
  address.create = true;
  return Must(OpenStore(address), "open store");
}

}  // namespace sqlite_s3::bench
