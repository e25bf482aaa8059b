#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "restore/command.h"
#include "tests/support/scripted_http.h"
#include "tests/support/temp_dir.h"

namespace sqlite_s3 {
namespace {

// A bucket in memory that forbids and ignores what it is told to.
class Bucket {
 public:
  bool forbid_delete = false;
  bool ignore_condition = false;
  bool forbid_all = false;
  std::map<std::string, std::string> objects;
  std::vector<std::string> aborted;

  ScriptedReply Answer(const ScriptedRequest& request) {
    if (forbid_all) return S3Error(403, "AccessDenied");
    const std::string path = request.target.substr(0, request.target.find('?'));
    const bool has = objects.count(path) > 0;
    if (request.method == "GET" && request.target.find("list-type=2") != std::string::npos) {
      return HttpReply(200, "<ListBucketResult></ListBucketResult>");
    }
    if (request.method == "GET" && request.target.ends_with("uploads=")) {
      return HttpReply(200, "<ListMultipartUploadsResult>" + Upload("root/old", "2013-05-24") +
                                Upload("root/new", "2999-05-24") +
                                Upload("other/old", "2013-05-24") +
                                "</ListMultipartUploadsResult>");
    }
    if (request.method == "GET") {
      return has ? HttpReply(200, objects[path]) : S3Error(404, "NoSuchKey");
    }
    if (request.method == "HEAD") {
      return has ? HttpReply(200, "", "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n")
                 : HttpReply(404);
    }
    if (request.method == "PUT" && request.target.find("partNumber") == std::string::npos) {
      if (has && request.headers.count("if-none-match") > 0 && !ignore_condition) {
        return S3Error(412, "PreconditionFailed");
      }
      objects[path] = request.body;
      return HttpReply(200);
    }
    if (request.method == "PUT") return HttpReply(200, "", "ETag: \"e\"\r\n");
    if (request.method == "POST" && request.target.ends_with("?uploads=")) {
      return HttpReply(200, "<R><UploadId>1</UploadId></R>");
    }
    if (request.method == "POST") return HttpReply(200, "<R><ETag>e</ETag></R>");
    if (request.target.find("uploadId=") != std::string::npos) {
      aborted.push_back(path);
      return HttpReply(204);
    }
    if (forbid_delete) return S3Error(403, "AccessDenied");
    objects.erase(path);
    return HttpReply(204);
  }

 private:
  static std::string Upload(const std::string& key, const std::string& day) {
    return "<Upload><Key>" + key + "</Key><UploadId>u</UploadId><Initiated>" + day +
           "T00:00:00.000Z</Initiated></Upload>";
  }
};

class DoctorTest : public ::testing::Test {
 protected:
  DoctorTest() {
    setenv("AWS_ACCESS_KEY_ID", "ID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "canary-secret", 1);
    command_.common.replica = "s3://bucket/root?endpoint=" + http_.endpoint();
    command_.common.json = true;
  }
  // The exit code; the report is in report_.
  int Run() {
    ::testing::internal::CaptureStdout();
    const int code = RunDoctor(command_);
    const std::string text = ::testing::internal::GetCapturedStdout();
    EXPECT_EQ(text.find("canary"), std::string::npos);
    report_ = nlohmann::json::parse(text);
    return code;
  }
  bool Ok(const std::string& check) {
    for (const auto& row : report_["checks"]) {
      if (row["check"] == check) return row["ok"];
    }
    ADD_FAILURE() << "no check '" << check << "' in " << report_;
    return false;
  }

  Bucket bucket_;
  ScriptedHttp http_{[this](const ScriptedRequest& request) { return bucket_.Answer(request); }};
  DoctorCommand command_;
  nlohmann::json report_;
};

TEST_F(DoctorTest, AHealthyStorePassesEveryCheckAndKeepsNothingOfIt) {
  EXPECT_EQ(Run(), 0);
  for (const char* check : {"options", "credentials", "endpoint", "clock", "list", "put", "get",
                            "conditional put", "multipart", "delete"}) {
    EXPECT_TRUE(Ok(check)) << check;
  }
  EXPECT_EQ(bucket_.objects.count("/bucket/root/.doctor"), 0u);
  EXPECT_TRUE(bucket_.aborted.empty());
}

TEST_F(DoctorTest, AWriterWithoutTheRightToDeleteIsFine) {
  bucket_.forbid_delete = true;
  EXPECT_EQ(Run(), 0);
  EXPECT_FALSE(Ok("delete"));
}

TEST_F(DoctorTest, AStoreThatIgnoresTheConditionIsRefused) {
  bucket_.ignore_condition = true;
  EXPECT_EQ(Run(), 4);
  EXPECT_FALSE(Ok("conditional put"));
}

TEST_F(DoctorTest, MissingRightsHaveTheirExitCode) {
  bucket_.forbid_all = true;
  EXPECT_EQ(Run(), 8);
  EXPECT_TRUE(Ok("endpoint"));
  EXPECT_FALSE(Ok("list"));
}

TEST_F(DoctorTest, ReadOnlyWritesNothing) {
  command_.read_only = true;
  EXPECT_EQ(Run(), 0);
  for (const ScriptedRequest& request : http_.requests()) {
    EXPECT_EQ(request.method, "GET") << request.target;
  }
}

TEST_F(DoctorTest, OnlyOldUploadsBelowThePrefixAreAborted) {
  command_.abort_uploads = true;
  EXPECT_EQ(Run(), 0);
  EXPECT_EQ(bucket_.aborted, std::vector<std::string>{"/bucket/root/old"});
}

TEST_F(DoctorTest, ADirectoryIsCheckedAndNotMade) {
  TempDir dir;
  command_.common.replica = "file://" + dir.File("absent");
  EXPECT_EQ(Run(), 3);
  command_.common.replica = "file://" + dir.path();
  EXPECT_EQ(Run(), 0);
}

}  // namespace
}  // namespace sqlite_s3
