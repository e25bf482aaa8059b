#include "common/config/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/config/option_table.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

template <size_t N>
Result<ReplicaConfig> Defaults(const char* const (&environment)[N]) {
  return EnvironmentDefaults(environment);
}

TEST(EnvironmentTest, EveryOptionHasAVariable) {
  for (const OptionDescriptor& option : OptionTable()) {
    const std::string entry = EnvironmentNameOf(option.name) + "= no value of any option ";
    const char* const environment[] = {entry.c_str(), nullptr};
    const auto defaults = EnvironmentDefaults(environment);
    if (!defaults.ok()) {  // all but the texts that may be anything
      EXPECT_THAT(defaults.status().message(), HasSubstr(EnvironmentNameOf(option.name)));
    } else {
      EXPECT_NE(option.format(*defaults), option.format(ReplicaConfig())) << option.name;
    }
  }
  EXPECT_EQ(EnvironmentNameOf("part_size"), "SQLITE_S3_PART_SIZE");
}

TEST(EnvironmentTest, OptionsWinOverTheUrlWhichWinsOverTheEnvironmentWhichWinsOverTheDefault) {
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig environment,
                       Defaults({"SQLITE_S3_INTERVAL=11ms", "SQLITE_S3_MEMORY=11MiB",
                                 "SQLITE_S3_SPOOL=11MiB", nullptr}));
  ASSERT_OK_AND_ASSIGN(
      const ReplicaConfig config,
      ParseReplicaConfig("s3://bucket/x?interval=22ms&memory=22MiB", "interval=33ms", environment));
  EXPECT_EQ(config.ship.interval, milliseconds(33));
  EXPECT_EQ(config.ship.memory_bytes, 22u << 20);
  EXPECT_EQ(config.ship.spool_bytes, 11u << 20);
  EXPECT_EQ(config.ship.segment_bytes, ShipOptions().segment_bytes);
}

TEST(EnvironmentTest, StoreOptionsAreForS3ReplicasOnly) {
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig environment,
                       Defaults({"SQLITE_S3_REGION=eu-central-1", nullptr}));
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig s3,
                       ParseReplicaConfig("s3://bucket/x", {}, environment));
  EXPECT_EQ(s3.location.region, "eu-central-1");
  EXPECT_EQ(s3.location.bucket, "bucket");
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig file, ParseReplicaConfig("file:///x", {}, environment));
  EXPECT_EQ(file.location.region, "");
  EXPECT_EQ(file.location.path, "/x");
}

TEST(EnvironmentTest, MisspelledVariablesAreErrorsAndOtherProgramsAreNot) {
  EXPECT_THAT(Defaults({"SQLITE_S3_INTERVALL=1s", nullptr}).status().message(),
              HasSubstr("'SQLITE_S3_INTERVALL', hint: did you mean 'SQLITE_S3_INTERVAL'?"));
  EXPECT_THAT(Defaults({"SQLITE_S3_INTERVAL=soon", nullptr}).status().message(),
              HasSubstr("environment variable 'SQLITE_S3_INTERVAL': 'soon' is not a duration"));
  EXPECT_OK(Defaults({"SQLITE_S3_AGENT_CONTROL=/run/x", "SQLITE_S3_INTERVAL=", "PATH=/bin",
                      "SQLITE_S3_SOMETHING_ELSE=1", nullptr})
                .status());
}

TEST(EnvironmentTest, AUrlForAnotherProgramCarriesTheStoreOptionsOfAllSources) {
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig environment,
                       Defaults({"SQLITE_S3_ENDPOINT=http://host:1", nullptr}));
  const char* const url = "s3://bucket/x?interval=2s&region=eu-west-1";
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig config,
                       ParseReplicaConfig(url, "tags=a=1%26b=2", environment));
  const std::string told = FormatReplicaUrl(url, config);
  EXPECT_EQ(told, "s3://bucket/x?endpoint=http://host:1&region=eu-west-1&tags=a=1%26b=2");
  ASSERT_OK_AND_ASSIGN(const ReplicaConfig again, ParseReplicaConfig(told));
  EXPECT_EQ(again.location, config.location);
}

}  // namespace
}  // namespace sqlite_s3
