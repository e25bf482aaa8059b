// Addresses and dates as the S3 driver writes and reads them.

#include "common/store/http_date.h"
#include "common/store/s3_client.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

TEST(S3EndpointTest, StylesAndPortsAreAsTheHostHeaderSaysThem) {
  const struct {
    S3Address address;
    const char* base;
    const char* path;
  } kCases[] = {
      {{.bucket = "b-1"}, "https://b-1.s3.eu-x.amazonaws.com", ""},
      {{.bucket = "b.1"}, "https://s3.eu-x.amazonaws.com", "/b.1"},
      {{.bucket = "B"}, "https://s3.eu-x.amazonaws.com", "/B"},
      {{.bucket = "b", .endpoint = "http://h:80"}, "http://h", "/b"},
      {{.bucket = "b", .endpoint = "https://h:443"}, "https://h", "/b"},
      {{.bucket = "b", .endpoint = "http://[::1]:9000"}, "http://[::1]:9000", "/b"},
      {{.bucket = "b", .endpoint = "https://h:1", .addressing = S3Addressing::kVirtual},
       "https://b.h:1",
       ""},
      {{.bucket = "b", .addressing = S3Addressing::kPath}, "https://s3.eu-x.amazonaws.com", "/b"},
  };
  for (const auto& c : kCases) {
    ASSERT_OK_AND_ASSIGN(S3Endpoint got, ResolveEndpoint(c.address, "eu-x"));
    EXPECT_EQ(got.base, c.base);
    EXPECT_EQ(got.path, c.path);
  }
  EXPECT_STATUS(ResolveEndpoint({.bucket = "a.b", .addressing = S3Addressing::kVirtual}, "eu-x"),
                StatusCode::kInvalidArgument);
}

TEST(HttpDateTest, ExactOrNothing) {
  EXPECT_EQ(ParseHttpDate("Fri, 24 May 2013 00:00:00 GMT"), 1'369'353'600'000'000);
  EXPECT_EQ(FormatHttpDate(1'369'353'600'000'000), "Fri, 24 May 2013 00:00:00 GMT");
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00.250Z"), 1'369'353'600'250'000);
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00Z"), 1'369'353'600'000'000);
  for (const char* bad : {"", "Fri, 30 Feb 2013 00:00:00 GMT", "Fri, 24 Maj 2013 00:00:00 GMT",
                          "Fri, 24 May 2013 00:00:00 CET", "Fri, 24 May 2013 25:00:00 GMT"}) {
    EXPECT_EQ(ParseHttpDate(bad), std::nullopt) << bad;
  }
  for (const char* bad : {"", "2013-05-24T00:00:00", "2013-13-24T00:00:00Z",
                          "2013-05-24T00:00:00.Z", "2013-05-24T00:00:00.xZ"}) {
    EXPECT_EQ(ParseIsoDate(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace sqlite_s3
