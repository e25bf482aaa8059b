#include "restore/temporary.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "common/os/file.h"

namespace sqlite_s3 {
namespace {

constexpr std::time_t kStaleSeconds = 3600;

// What the handler may touch: a fixed buffer, published by the flag.
char remembered_path[PATH_MAX];
std::atomic<bool> remembered{false};

void RemoveAndExit(int signal_number) {
  if (remembered) {
    unlink(remembered_path);
    const size_t length = std::strlen(remembered_path);
    if (length + 5 < sizeof(remembered_path)) {
      std::memcpy(remembered_path + length, "-wal", 5);
      unlink(remembered_path);
      std::memcpy(remembered_path + length, "-shm", 5);
      unlink(remembered_path);
    }
  }
  _exit(128 + signal_number);
}

}  // namespace

std::string TemporaryDirectory() {
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && directory[0] != '\0' ? directory : "/tmp";
}

void InstallSignalHandlers() {
  struct sigaction action {};
  action.sa_handler = &RemoveAndExit;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void RememberTemporary(const std::string& path) {
  remembered = false;
  if (path.size() < sizeof(remembered_path)) {
    std::memcpy(remembered_path, path.c_str(), path.size() + 1);
    remembered = true;
  }
}

void ForgetTemporary() { remembered = false; }

void RemoveStaleTemporaries(const std::string& directory, const std::string& base) {
  auto names = ListDirectory(directory);
  if (!names.ok()) {
    return;  // creating the temporary file will say it better
  }
  const std::string prefix = "." + base + ".";
  for (const std::string& name : *names) {
    const bool ours = name.size() > prefix.size() && name.compare(0, prefix.size(), prefix) == 0 &&
                      name.find(".restoring") != std::string::npos;
    struct stat st {};
    const std::string path = directory + "/" + name;
    if (ours && stat(path.c_str(), &st) == 0 && std::time(nullptr) - st.st_mtime > kStaleSeconds) {
      (void)RemoveFile(path);  // left by a killed restore; not removing it hurts nobody
    }
  }
}

}  // namespace sqlite_s3
