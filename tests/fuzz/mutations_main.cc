// Runs a fuzz entry over its seeds and over mutations of them, the same ones every time: where no
// libFuzzer is, and as a regression test under the sanitizers of the build.
//
//   NAME_fuzz [--runs N] [--only K] SEED-OR-FOLDER...
//
// The number of the run that was on is printed when the process is killed by a signal.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;

volatile sig_atomic_t current_run = 0;

void SayRun(int signal) {
  constexpr std::string_view kDied = "\nfuzz: died in run ";
  char text[64];
  size_t at = kDied.copy(text, kDied.size());
  int value = current_run;
  char digits[16];
  size_t length = 0;
  do {
    digits[length++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value > 0);
  while (length > 0) {
    text[at++] = digits[--length];
  }
  text[at++] = '\n';
  (void)!write(STDERR_FILENO, text, at);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

Input ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(in), {});
}

class Mutator {
 public:
  Mutator(const std::vector<Input>& seeds, uint64_t run) : seeds_(seeds), random_(run) {}

  Input Make() {
    Input input = seeds_[Below(seeds_.size())];
    for (size_t i = 1 + Below(6); i > 0; --i) {
      Change(input);
    }
    return input;
  }

 private:
  size_t Below(size_t n) { return n == 0 ? 0 : random_() % n; }

  void Change(Input& input) {
    constexpr uint64_t kEdges[] = {0,          1,          0x7f,      0x80,
                                   0xff,       0x7fff,     0xffff,    0x7fffffff,
                                   0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX};
    const size_t at = Below(input.size());
    switch (Below(7)) {
      case 0:  // a bit
        if (!input.empty()) {
          input[at] = static_cast<uint8_t>(input[at] ^ (1U << Below(8)));
        }
        break;
      case 1:  // a byte
        if (!input.empty()) {
          input[at] = static_cast<uint8_t>(random_());
        }
        break;
      case 2: {  // a number at the edge of its type
        const uint64_t edge = kEdges[Below(std::size(kEdges))];
        const size_t width = std::min<size_t>(size_t{1} << Below(4), input.size() - at);
        std::memcpy(input.data() + at, &edge, width);
        break;
      }
      case 3:  // cut
        input.resize(at);
        break;
      case 4:  // a piece left out
        input.erase(input.begin() + static_cast<ptrdiff_t>(at),
                    input.begin() + static_cast<ptrdiff_t>(at + Below(input.size() - at)));
        break;
      case 5: {  // a piece of itself once more
        const Input piece(input.begin() + static_cast<ptrdiff_t>(at),
                          input.begin() + static_cast<ptrdiff_t>(at + Below(input.size() - at)));
        input.insert(input.begin() + static_cast<ptrdiff_t>(Below(input.size())), piece.begin(),
                     piece.end());
        break;
      }
      default: {  // the rest of another seed
        const Input& other = seeds_[Below(seeds_.size())];
        const size_t from = Below(other.size());
        input.resize(at);
        input.insert(input.end(), other.begin() + static_cast<ptrdiff_t>(from), other.end());
      }
    }
  }

  const std::vector<Input>& seeds_;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  int runs = std::getenv("SQLITE_S3_LONG") != nullptr ? 2'000'000 : 50'000;
  int only = -1;
  std::vector<Input> seeds;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--runs" || argument == "--only") {
      (argument == "--runs" ? runs : only) = i + 1 < argc ? std::atoi(argv[++i]) : 0;
    } else if (std::filesystem::is_directory(argument)) {
      std::vector<std::filesystem::path> files;
      for (const auto& entry : std::filesystem::directory_iterator(argument)) {
        files.push_back(entry.path());
      }
      std::sort(files.begin(), files.end());
      for (const auto& file : files) {
        seeds.push_back(ReadAll(file));
      }
    } else {
      seeds.push_back(ReadAll(argument));
    }
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "fuzz: no seeds, hint: name a file or a folder of them\n");
    return 2;
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(signal, SayRun);
  }
  for (const Input& seed : seeds) {
    LLVMFuzzerTestOneInput(seed.data(), seed.size());
  }
  for (int run = only < 0 ? 1 : only; run <= (only < 0 ? runs : only); ++run) {
    current_run = run;
    // Of exactly its size: a read beyond the end is then seen.
    const Input input = Mutator(seeds, static_cast<uint64_t>(run)).Make();
    const Input exact(input.begin(), input.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%zu seeds, %d mutations\n", seeds.size(), only < 0 ? runs : 1);
  return 0;
}
