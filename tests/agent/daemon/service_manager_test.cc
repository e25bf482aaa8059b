#include "agent/daemon/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/os/fd.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

class ServiceManagerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    address_.sun_family = AF_UNIX;
    std::copy(path_.begin(), path_.end(), address_.sun_path);
    ASSERT_EQ(bind(reader_.get(), Address(), sizeof(address_)), 0);
    setenv("NOTIFY_SOCKET", path_.c_str(), 1);
  }
  void TearDown() override { unsetenv("NOTIFY_SOCKET"); }

  // As far as the kernel keeps messages for a reader that does not read.
  void Fill() {
    while (sendto(other_.get(), "x", 1, MSG_DONTWAIT, Address(), sizeof(address_)) == 1) {
    }
  }
  std::vector<std::string> Read() {
    std::vector<std::string> messages;
    char bytes[4096];
    for (ssize_t n = 0; (n = recv(reader_.get(), bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0;) {
      if (std::string message(bytes, static_cast<size_t>(n)); message != "x") {
        messages.push_back(message);
      }
    }
    return messages;
  }

 private:
  const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(&address_); }

  TempDir dir_;
  const std::string path_ = dir_.File("notify");
  sockaddr_un address_{};
  Fd reader_{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  Fd other_{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
};

TEST_F(ServiceManagerTest, TellsInOrder) {
  ServiceManager service;
  service.Ready();
  service.SetStatus("two\nlines");
  service.SetStatus("two\nlines");
  service.Alive();
  service.Stopping();
  EXPECT_TRUE(service.DeliverRest());
  EXPECT_EQ(Read(),
            (std::vector<std::string>{"READY=1", "STATUS=two lines", "WATCHDOG=1", "STOPPING=1"}));
}

// sd_notify(3) waits then: the agent answered nobody and took no signal.
TEST_F(ServiceManagerTest, AReaderThatDoesNotReadHoldsUpNobodyAndMissesNothing) {
  ServiceManager service;
  Fill();
  service.SetStatus("one");
  service.Ready();
  for (int i = 0; i < 1000; ++i) {
    service.Alive();
  }
  service.SetStatus("two");
  EXPECT_FALSE(service.DeliverRest());
  EXPECT_TRUE(Read().empty());
  EXPECT_TRUE(service.DeliverRest());
  EXPECT_EQ(Read(), (std::vector<std::string>{"READY=1", "WATCHDOG=1", "STATUS=two"}));
}

TEST_F(ServiceManagerTest, AManagerThatIsGoneIsNotTold) {
  setenv("NOTIFY_SOCKET", "@sqlite-s3-nobody-listens-here", 1);
  ServiceManager service;
  service.Ready();
  EXPECT_TRUE(service.DeliverRest());
}

}  // namespace
}  // namespace sqlite_s3
