// Access control lists: what is answered is what is so.
#include "tests/server/s3/s3_fixture.h"

namespace sqlite_s3::server {
namespace {

class AclTest : public S3Test {
 protected:
  void SetUp() override { Serve(false); }
  void Serve(bool public_acls) {
    ServiceOptions options;
    options.public_acls = public_acls;
    Start({}, options);
    ASSERT_EQ(Put("/bucket", "").status, 200);
  }
  Seen Anonymous(const std::string& method, const std::string& target) {
    Request request;
    request.method = method;
    const size_t question = target.find('?');
    request.path = target.substr(0, question);
    request.query = question == std::string::npos ? "" : target.substr(question + 1);
    return Deliver(std::move(request), "");
  }
  std::vector<std::string> Permissions(const std::string& path) {
    return Get(path + "?acl").Elements("Permission");
  }
};

const std::vector<std::string> kOwnerOnly = {"FULL_CONTROL"};
const std::vector<std::string> kReadToo = {"READ", "FULL_CONTROL"};

TEST_F(AclTest, TheOwnerHasFullControlOfWhatHeMade) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  for (const char* path : {"/bucket", "/bucket/k"}) {
    const Seen acl = Get(std::string(path) + "?acl");
    EXPECT_EQ(acl.Elements("Permission"), kOwnerOnly) << path;
    EXPECT_EQ(acl.Elements("ID"), (std::vector<std::string>{"alice", "alice"})) << path;
  }
}

TEST_F(AclTest, PublicListsAreRefusedUnlessTheOperatorAllowsThem) {
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  for (const char* acl : {"public-read", "public-read-write", "authenticated-read"}) {
    const HeaderList header = {{"x-amz-acl", acl}};
    EXPECT_EQ(Put("/other", "", header).code(), "AccessDenied") << acl;
    EXPECT_EQ(Put("/bucket/new", "x", header).code(), "AccessDenied") << acl;
    EXPECT_EQ(Put("/bucket/k?acl", "", header).code(), "AccessDenied") << acl;
    EXPECT_EQ(Put("/bucket?acl", "", header).code(), "AccessDenied") << acl;
    EXPECT_EQ(Send("POST", "/bucket/k?uploads", "", header).code(), "AccessDenied") << acl;
  }
  EXPECT_EQ(Get("/bucket/new").code(), "NoSuchKey");
  EXPECT_EQ(Get("/other").code(), "NoSuchBucket");
  EXPECT_EQ(Permissions("/bucket/k"), kOwnerOnly);
  for (const char* acl : {"private", "bucket-owner-read", "bucket-owner-full-control"}) {
    EXPECT_EQ(Put("/bucket/k", "x", {{"x-amz-acl", acl}}).status, 200) << acl;
  }
}

TEST_F(AclTest, APublicObjectIsReadByAnybodyAndItsNeighbourIsNot) {
  Serve(true);
  ASSERT_EQ(Put("/bucket/k", "x", {{"x-amz-acl", "public-read"}}).status, 200);
  ASSERT_EQ(Put("/bucket/secret", "y").status, 200);
  EXPECT_EQ(Permissions("/bucket/k"), kReadToo);
  EXPECT_EQ(Anonymous("GET", "/bucket/k").body, "x");
  EXPECT_EQ(Anonymous("HEAD", "/bucket/k").status, 200);
  for (const char* target : {"/bucket/secret", "/bucket/none", "/bucket", "/bucket/k?acl",
                             "/bucket/k?tagging", "/bucket?versions", "/"}) {
    EXPECT_EQ(Anonymous("GET", target).code(), "AccessDenied") << target;
  }
  EXPECT_EQ(Anonymous("PUT", "/bucket/k").code(), "AccessDenied");
  EXPECT_EQ(Anonymous("DELETE", "/bucket/k").code(), "AccessDenied");
  EXPECT_EQ(Put("/bucket/k", "z").status, 200);  // a new object is private again
  EXPECT_EQ(Anonymous("GET", "/bucket/k").code(), "AccessDenied");
}

TEST_F(AclTest, APublicBucketIsListedByAnybodyAndItsObjectsStayPrivate) {
  Serve(true);
  ASSERT_EQ(Put("/bucket/k", "x").status, 200);
  ASSERT_EQ(Put("/bucket?acl", "", {{"x-amz-acl", "public-read"}}).status, 200);
  EXPECT_EQ(Permissions("/bucket"), kReadToo);
  EXPECT_EQ(Anonymous("GET", "/bucket?list-type=2").Element("Key"), "k");
  EXPECT_EQ(Anonymous("GET", "/bucket/k").code(), "AccessDenied");
  EXPECT_EQ(Anonymous("GET", "/bucket/none").code(), "NoSuchKey");
  EXPECT_EQ(Put("/bucket?acl", "", {{"x-amz-acl", "private"}}).status, 200);
  EXPECT_EQ(Anonymous("GET", "/bucket?list-type=2").code(), "AccessDenied");
}

TEST_F(AclTest, AuthenticatedReadIsForUsersOfOtherBucketsToo) {
  Serve(true);
  ASSERT_EQ(Put("/bucket/k", "x", {{"x-amz-acl", "authenticated-read"}}).status, 200);
  EXPECT_EQ(Anonymous("GET", "/bucket/k").code(), "AccessDenied");
  user_ = *users_.Find("BOB");
  EXPECT_EQ(Get("/bucket/k").body, "x");
  EXPECT_EQ(Put("/bucket/k", "y").code(), "AccessDenied");
}

TEST_F(AclTest, NobodyWritesWithoutCredentials) {
  Serve(true);
  EXPECT_EQ(Put("/bucket?acl", "", {{"x-amz-acl", "public-read-write"}}).code(), "AccessDenied");
}

TEST_F(AclTest, DocumentsThatACannedListCouldSayAreTaken) {
  Serve(true);
  ASSERT_EQ(Put("/bucket/k", "x", {{"x-amz-acl", "public-read"}}).status, 200);
  const std::string document = Get("/bucket/k?acl").body;
  ASSERT_EQ(Put("/bucket/k?acl", "", {{"x-amz-acl", "private"}}).status, 200);
  EXPECT_EQ(Permissions("/bucket/k"), kOwnerOnly);
  ASSERT_EQ(Put("/bucket/k?acl", document).status, 200);
  EXPECT_EQ(Permissions("/bucket/k"), kReadToo);
  EXPECT_EQ(Anonymous("GET", "/bucket/k").body, "x");
  const std::string to_bob =
      "<AccessControlPolicy><AccessControlList><Grant><Grantee><ID>bob</ID></Grantee>"
      "<Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";
  EXPECT_EQ(Put("/bucket/k?acl", to_bob).code(), "NotImplemented");
  EXPECT_EQ(Put("/bucket/k?acl", "<nonsense/>").code(), "MalformedACLError");
  Serve(false);
  EXPECT_EQ(Put("/bucket/k?acl", document).code(), "AccessDenied");
}

TEST_F(AclTest, WhatIsNotSupportedIsRefusedAndNotIgnored) {
  EXPECT_EQ(Put("/bucket/k", "x", {{"x-amz-acl", "nonsense"}}).code(), "InvalidArgument");
  EXPECT_EQ(Put("/bucket/k", "x", {{"x-amz-grant-read", "id=\"bob\""}}).code(), "NotImplemented");
  EXPECT_EQ(Put("/other", "", {{"x-amz-acl", "nonsense"}}).code(), "InvalidArgument");
  EXPECT_EQ(Get("/bucket/k").code(), "NoSuchKey");
}

}  // namespace
}  // namespace sqlite_s3::server
