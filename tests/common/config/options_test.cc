#include "common/config/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "common/config/option_table.h"

namespace sqlite_s3 {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Here() { return std::filesystem::current_path().string(); }

std::string Place(std::string_view url) {
  auto config = ParseReplicaConfig(url);
  if (!config.ok()) {
    return config.status().ToString();
  }
  const ReplicaLocation& l = config->location;
  std::string out = l.scheme + "|" + l.path + l.name + l.bucket;
  if (l.scheme == "s3") {
    out += "|" + l.prefix + "|" + l.endpoint + "|" + l.region + "|" + l.client;
  }
  return out;
}

std::string ErrorOf(std::string_view url, std::string_view options = {}) {
  auto config = ParseReplicaConfig(url, options);
  EXPECT_EQ(config.code(), StatusCode::kInvalidArgument) << url << " " << options;
  return config.status().message();
}

TEST(ReplicaUrlTest, GoodUrls) {
  const struct {
    const char* url;
    std::string place;
  } kCases[] = {
      {"file:///var/backups/app", "file|/var/backups/app"},
      {"file://localhost/var/app", "file|/var/app"},
      {"file:/var/app", "file|/var/app"},
      {"file:relative/dir", "file|" + Here() + "/relative/dir"},
      {"file:///a%20b/%3f%23", "file|/a b/?#"},
      {"file:///a//b/./c/", "file|/a/b/c"},
      {"file:///a/../b", "file|/a/../b"},
      {"/var/100%/a b#c", "file|/var/100%/a b#c"},
      {"./x", "file|" + Here() + "/x"},
      {"./", "file|" + Here()},
      {"/var/app?interval=2s", "file|/var/app"},
      {"/var/app?", "file|/var/app"},
      {"memory:one", "memory|one"},
      {"memory:a.b-c_1?interval=0", "memory|a.b-c_1"},
      {"s3://bucket", "s3|bucket||||"},
      {"s3://bucket/", "s3|bucket||||"},
      {"s3://bucket//", "s3|bucket||||"},
      {"s3://bucket/a/b/", "s3|bucket|a/b|||"},
      {"s3://my.bucket-1/a%20b?endpoint=http://localhost:9000/&region=eu-central-1&client=libs3",
       "s3|my.bucket-1|a b|http://localhost:9000|eu-central-1|libs3"},
      {"s3://b_b/x?endpoint=https%3A%2F%2F[::1]:9000&client=libcurl",
       "s3|b_b|x|https://[::1]:9000||libcurl"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Place(c.url), c.place) << c.url;
  }
}

TEST(ReplicaUrlTest, BadUrlsSayWhatIsWrong) {
  const struct {
    const char* url;
    const char* message;
  } kCases[] = {
      {"", "replica URL: it is empty, hint: a replica is file:///dir"},
      {"backups/app", "replica URL: it has no scheme, hint: "},
      {"?interval=1s", "it has no scheme"},
      {"http://host/x", "unknown scheme 'http'"},
      {"S3://bucket/x", "unknown scheme 'S3'"},
      {"file:", "the path is empty"},
      {"file://", "names no directory"},
      {"file://host", "file://HOST/ names no directory"},
      {"file://localhost", "names no directory"},
      {"file:///", "it names the root directory"},
      {"/", "it names the root directory"},
      {"file:///a%", "wrong percent-encoding at byte 2"},
      {"file:///a%2", "wrong percent-encoding"},
      {"file:///a%00b", "NUL byte"},
      {"file:///a#b", "hint: inside a name '#' is written %23"},
      {"memory:", "memory:NAME takes"},
      {"memory:a/b", "memory:NAME takes"},
      {"s3:bucket", "it names no bucket, hint: s3://bucket/prefix"},
      {"s3://", "is not a bucket name"},
      {"s3:///prefix", "is not a bucket name"},
      {"s3://ab", "'ab' is not a bucket name"},
      {"s3://a..b/x", "is not a bucket name"},
      {"s3://-ab/x", "is not a bucket name"},
      {"s3://a b/x", "is not a bucket name"},
      {"s3://bucket:9000/x", "the port is part of endpoint="},
      {"s3://bucket//x", "has an empty, '.' or '..' segment"},
      {"s3://bucket/a/../b", "has an empty, '.' or '..' segment"},
      {"s3://bucket/a%0Ab", "'a%0Ab' has a control character"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf(c.url), HasSubstr(c.message)) << c.url;
  }
  EXPECT_THAT(ErrorOf(std::string("/a\0b", 4)), HasSubstr("NUL byte"));
  EXPECT_THAT(ErrorOf("s3://bucket/" + std::string(513, 'p')), HasSubstr("at most 512"));
}

TEST(OptionsTest, DefaultsAreThoseOfTheStruct) {
  auto config = ParseReplicaConfig("memory:m");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->ship, ShipOptions());
}

TEST(OptionsTest, EveryOptionSetsItsField) {
  const struct {
    const char* option;
    std::function<void(ShipOptions&)> set;
  } kCases[] = {
      {"interval=250ms", [](ShipOptions& o) { o.interval = milliseconds(250); }},
      {"interval=0", [](ShipOptions& o) { o.interval = milliseconds(0); }},
      {"durability=commit", [](ShipOptions& o) { o.durability = CommitDurability::kCommit; }},
      {"durability=async", [](ShipOptions&) {}},
      {"commit_timeout=1ms", [](ShipOptions& o) { o.commit_timeout = milliseconds(1); }},
      {"close_timeout=1h", [](ShipOptions& o) { o.close_timeout = milliseconds(3'600'000); }},
      {"checkpoint=2000", [](ShipOptions& o) { o.checkpoint_pages = 2000; }},
      {"segment_size=64KiB", [](ShipOptions& o) { o.segment_bytes = 65'536; }},
      {"memory=1MiB", [](ShipOptions& o) { o.memory_bytes = 1 << 20; }},
      {"spool=10MB", [](ShipOptions& o) { o.spool_bytes = 10'000'000; }},
      {"when_full=grow-wal", [](ShipOptions&) {}},
      {"when_full=resync", [](ShipOptions& o) { o.when_full = WhenFull::kResync; }},
      {"when_full=block", [](ShipOptions& o) { o.when_full = WhenFull::kBlock; }},
      {"compression=19", [](ShipOptions& o) { o.compression_level = 19; }},
      {"image_log_percent=0", [](ShipOptions& o) { o.image_log_percent = 0; }},
      {"image_interval=7d", [](ShipOptions& o) { o.image_interval = milliseconds(604'800'000); }},
      {"state_dir=/x/y", [](ShipOptions& o) { o.state_dir = "/x/y"; }},
      {"state_dir=rel", [](ShipOptions& o) { o.state_dir = Here() + "/rel"; }},
      {"state_dir=", [](ShipOptions&) {}},
      {"on_conflict=refuse", [](ShipOptions&) {}},
      {"on_conflict=take-over", [](ShipOptions& o) { o.on_conflict = OnConflict::kTakeOver; }},
      {"on_conflict=fork", [](ShipOptions& o) { o.on_conflict = OnConflict::kFork; }},
      {"require_fencing=off", [](ShipOptions& o) { o.require_fencing = false; }},
      {"attach=all", [](ShipOptions& o) { o.attach_all = true; }},
      {"attach=this", [](ShipOptions&) {}},
  };
  for (const auto& c : kCases) {
    ShipOptions expected;
    c.set(expected);
    auto from_options = ParseReplicaConfig("/r", c.option);
    ASSERT_TRUE(from_options.ok()) << c.option << ": " << from_options.status().ToString();
    EXPECT_EQ(from_options->ship, expected) << c.option;
    auto from_query = ParseReplicaConfig(std::string("/r?") + c.option);
    ASSERT_TRUE(from_query.ok()) << c.option << ": " << from_query.status().ToString();
    EXPECT_EQ(from_query->ship, expected) << c.option;
  }
}

TEST(OptionsTest, BadValuesNameTheOptionTheValueAndWhatIsAllowed) {
  const struct {
    const char* option;
    const char* message;
  } kCases[] = {
      {"interval=soon",
       "option 'interval': 'soon' is not a duration, hint: a whole number with ms"},
      {"interval=2h", "option 'interval': '2h' is out of bounds, hint: 0 to 1h"},
      {"interval=", "option 'interval': '' is not a duration"},
      {"interval=-1s", "option 'interval': '-1s' is not a duration"},
      {"durability=sync", "option 'durability': 'sync' is not one of async, commit"},
      {"commit_timeout=0", "option 'commit_timeout': '0' is out of bounds, hint: 1ms to 1h"},
      {"close_timeout=61m", "option 'close_timeout': '61m' is out of bounds"},
      {"checkpoint=many", "option 'checkpoint': 'many' is not a whole number"},
      {"checkpoint=", "option 'checkpoint': '' is not a whole number"},
      {"checkpoint=-1", "option 'checkpoint': '-1' is out of bounds, hint: 0 to 10000000"},
      {"checkpoint=99999999999999999999", "is out of bounds"},
      {"checkpoint=10x", "is not a whole number"},
      {"segment_size=1KiB", "option 'segment_size': '1KiB' is out of bounds, hint: 4KiB to 128MiB"},
      {"memory=24M", "option 'memory': '24M' is not a size, hint: a whole number with KiB"},
      {"spool=1000000TiB", "option 'spool': '1000000TiB' is out of bounds"},
      {"spool=99999999999TiB", "option 'spool': '99999999999TiB' is too large for a size"},
      {"when_full=drop", "option 'when_full': 'drop' is not one of grow-wal, resync, block"},
      {"compression=0", "option 'compression': '0' is out of bounds, hint: 1 to 19"},
      {"compression=20", "out of bounds"},
      {"image_log_percent=-5", "out of bounds"},
      {"image_interval=4000d",
       "option 'image_interval': '4000d' is out of bounds, hint: 0 to 3650d"},
      {"on_conflict=overwrite", "'overwrite' is not one of refuse, take-over, fork"},
      {"require_fencing=yes", "'yes' is not one of on, off"},
      {"attach=none", "'none' is not one of all, this"},
      {"state_dir=%00", "value of option 'state_dir'"},
      {"endpoint=http://h", "option 'endpoint' is for s3 replicas, this one is file"},
      {"region=x", "option 'region' is for s3 replicas, this one is file"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf("/r", c.option), HasSubstr(c.message)) << c.option;
    EXPECT_THAT(ErrorOf(std::string("file:///r?") + c.option), HasSubstr(c.message)) << c.option;
  }
}

TEST(OptionsTest, BadStoreOptions) {
  const struct {
    const char* option;
    const char* message;
  } kCases[] = {
      {"endpoint=", "option 'endpoint': not an endpoint, hint: https://host"},
      {"endpoint=localhost:9000", "option 'endpoint': not an endpoint, hint: https://host"},
      {"endpoint=http://", "a host and perhaps a port follow"},
      {"endpoint=http://h/path", "a host and perhaps a port follow"},
      {"region=EU", "option 'region': 'EU' is not a region"},
      {"region=", "'' is not a region"},
      {"client=boto", "option 'client': 'boto' is not one of libcurl, libs3"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf("s3://bucket/x", c.option), HasSubstr(c.message)) << c.option;
  }
}

TEST(OptionsTest, UnknownOptionsGetTheNearestName) {
  const struct {
    const char* key;
    const char* hint;
  } kCases[] = {
      {"intervall", "unknown option 'intervall' in options, hint: did you mean 'interval'?"},
      {"Interval", "did you mean 'interval'?"},
      {"whenfull", "did you mean 'when_full'?"},
      {"when-full", "did you mean 'when_full'?"},
      {"segmentsize", "did you mean 'segment_size'?"},
      {"statedir", "did you mean 'state_dir'?"},
      {"sopol", "did you mean 'spool'?"},
      {"frequency", "hint: the options are interval, durability,"},
      {"x", "hint: the options are interval, durability,"},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf("/r", std::string(c.key) + "=1"), HasSubstr(c.hint)) << c.key;
  }
  EXPECT_THAT(
      ErrorOf("/r?intervall=1s"),
      HasSubstr("unknown option 'intervall' in replica URL, hint: did you mean 'interval'?"));
}

TEST(OptionsTest, NoMessageShowsASecret) {
  const struct {
    const char* url;
    const char* options;
  } kCases[] = {
      {"s3://bucket/x?secret_access_key=hunter2", ""},
      {"s3://bucket/x", "aws_session_token=hunter2"},
      {"s3://bucket/x", "password=a,hunter2"},
      {"s3://bucket/x", "anything=hunter2"},
      {"s3://bucket/x?endpoint=https://user:hunter2@host", ""},
      {"s3://bucket/x?endpoint=user:hunter2@host", ""},
      {"s3://user:hunter2@bucket/x", ""},
      {"s3://user:hunter2%40bucket/x", ""},
      {"s3://hunter2@bucket/x", ""},
      {"https://user:hunter2@host/bucket", ""},
      {"file://user:hunter2@host", ""},
      {"user:hunter2@host", ""},
      {"s3://bucket/x?hunter2", ""},
      {"s3://bucket/x?token=hunter2%", ""},
      {"s3://bucket/x?token=hunter2&token=hunter2", ""},
  };
  for (const auto& c : kCases) {
    EXPECT_THAT(ErrorOf(c.url, c.options), Not(HasSubstr("hunter2"))) << c.url << " " << c.options;
  }
  EXPECT_THAT(ErrorOf("s3://bucket/x?aws_secret_access_key=hunter2"),
              HasSubstr("hint: credentials come from the environment or a profile"));
}

TEST(OptionsTest, OptionsWinOverTheQueryAndOneSpellingSaysAThingOnce) {
  auto config = ParseReplicaConfig("/r?interval=5s&compression=7", "interval=2s");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->ship.interval, milliseconds(2000));
  EXPECT_EQ(config->ship.compression_level, 7);
  EXPECT_THAT(ErrorOf("/r?interval=5s&interval=5s"),
              HasSubstr("option 'interval' is given twice in replica URL"));
  EXPECT_THAT(ErrorOf("/r", "interval=5s,interval=6s"),
              HasSubstr("option 'interval' is given twice in options"));
}

TEST(OptionsTest, AWrongQueryIsAnErrorEvenWhenTheOptionsWouldWin) {
  EXPECT_THAT(ErrorOf("/r?interval=never", "interval=1s"), HasSubstr("'never'"));
}

TEST(OptionsTest, FormattedOptionsParseBackToThemselves) {
  ShipOptions other;
  other.interval = milliseconds(1);
  other.durability = CommitDurability::kCommit;
  other.commit_timeout = milliseconds(1500);
  other.close_timeout = milliseconds(0);
  other.checkpoint_pages = 10'000'000;
  other.segment_bytes = 4097;
  other.memory_bytes = uint64_t{3} << 30;
  other.spool_bytes = 10'000'000;
  other.when_full = WhenFull::kBlock;
  other.compression_level = 1;
  other.image_log_percent = 250;
  other.image_interval = milliseconds(172'800'000);
  other.state_dir = "/with space/100%,&;=?#\n\xc3\xa4";
  other.on_conflict = OnConflict::kFork;
  other.require_fencing = false;
  other.attach_all = true;
  for (const ShipOptions& options : {ShipOptions(), other}) {
    const std::string text = FormatShipOptions(options);
    auto parsed = ParseReplicaConfig("/r", text);
    ASSERT_TRUE(parsed.ok()) << text << parsed.status().ToString();
    EXPECT_EQ(parsed->ship, options) << text;
    EXPECT_EQ(FormatShipOptions(parsed->ship), text);
  }
  EXPECT_THAT(FormatShipOptions(ShipOptions()), HasSubstr("interval=1s\ndurability=async\n"));
  EXPECT_THAT(FormatShipOptions(ShipOptions()), HasSubstr("\nimage_interval=24h\n"));
}

TEST(OptionsTest, EveryStoreOptionSetsItsField) {
  const struct {
    const char* text;
    std::function<void(ReplicaLocation&)> set;
  } kCases[] = {
      {"addressing=virtual", [](ReplicaLocation& l) { l.addressing = "virtual"; }},
      {"checksum=sha256", [](ReplicaLocation& l) { l.checksum = "sha256"; }},
      {"checksum=off", [](ReplicaLocation& l) { l.checksum = "off"; }},
      {"ca_file=/etc/ca.pem", [](ReplicaLocation& l) { l.ca_file = "/etc/ca.pem"; }},
      {"profile=backup", [](ReplicaLocation& l) { l.profile = "backup"; }},
      {"sse=aws:kms", [](ReplicaLocation& l) { l.sse = "aws:kms"; }},
      {"sse_kms_key_id=alias/a", [](ReplicaLocation& l) { l.sse_kms_key_id = "alias/a"; }},
      {"sse_c_key_file=/k", [](ReplicaLocation& l) { l.sse_c_key_file = "/k"; }},
      {"storage_class=GLACIER_IR", [](ReplicaLocation& l) { l.storage_class = "GLACIER_IR"; }},
      {"tags=a=b%26c=", [](ReplicaLocation& l) { l.tags = "a=b&c="; }},
      {"connect_timeout=1s", [](ReplicaLocation& l) { l.connect_timeout = milliseconds(1000); }},
      {"request_timeout=2s", [](ReplicaLocation& l) { l.request_timeout = milliseconds(2000); }},
      {"part_size=5MiB", [](ReplicaLocation& l) { l.part_bytes = 5 << 20; }},
      {"upload_parallelism=8", [](ReplicaLocation& l) { l.upload_parallelism = 8; }},
  };
  auto plain = ParseReplicaConfig("s3://bucket/x");
  ASSERT_TRUE(plain.ok());
  for (const auto& c : kCases) {
    auto parsed = ParseReplicaConfig(std::string("s3://bucket/x?") + c.text);
    ASSERT_TRUE(parsed.ok()) << c.text << parsed.status().ToString();
    ReplicaLocation expected = plain->location;
    c.set(expected);
    EXPECT_EQ(parsed->location, expected) << c.text;
  }
  for (const char* bad : {"addressing=host", "checksum=md5", "sse=none", "tags=a", "tags==b",
                          "tags=", "part_size=1MiB", "upload_parallelism=0",
                          "profile=", "storage_class=a%0d%0ax-evil:%20b", "ca_file="}) {
    EXPECT_EQ(ParseReplicaConfig(std::string("s3://bucket/x?") + bad).code(),
              StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST(OptionsTest, TheTableNamesEachOptionOnceAndItsDefaultIsInBounds) {
  ReplicaConfig defaults;
  defaults.location.scheme = "s3";
  for (const OptionDescriptor& option : OptionTable()) {
    EXPECT_EQ(FindOption(option.name), &option) << option.name;
    const std::string value = option.format(defaults);
    if (option.kind == OptionKind::kStore && value.empty()) {
      continue;  // left to the store
    }
    ReplicaConfig copy = defaults;
    EXPECT_TRUE(option.parse(value, copy).ok()) << option.name << "=" << value;
    EXPECT_EQ(copy.ship, defaults.ship) << option.name;
    EXPECT_EQ(copy.location, defaults.location) << option.name;
  }
}

}  // namespace
}  // namespace sqlite_s3
