#include "common/config/key_values.h"

#include <gtest/gtest.h>

namespace sqlite_s3 {
namespace {

std::string Flat(const std::vector<KeyValue>& pairs) {
  std::string out;
  for (const KeyValue& pair : pairs) {
    out += "[" + pair.key + "|" + pair.value + "]";
  }
  return out;
}

TEST(KeyValuesTest, EverySeparatorSeparatesAndEmptyPairsAreSkipped) {
  for (const char* text : {"a=1,b=2", "a=1;b=2", "a=1&b=2", "a=1 b=2", "a=1\tb=2", "a=1\r\nb=2\n",
                           " a=1 ,  b=2 ; ", ",,a=1,,b=2,,"}) {
    auto pairs = ParseKeyValues(text, kOptionSeparators, "options");
    ASSERT_TRUE(pairs.ok()) << text << ": " << pairs.status().ToString();
    EXPECT_EQ(Flat(*pairs), "[a|1][b|2]") << text;
  }
}

TEST(KeyValuesTest, OnlyTheQuerySeparatorSplitsAQuery) {
  EXPECT_EQ(Flat(*ParseKeyValues("a=1,2;3 4&b=x", kQuerySeparators, "replica URL")),
            "[a|1,2;3 4][b|x]");
}

TEST(KeyValuesTest, KeysAndValuesAreDecodedOnceAndTheFirstEqualsSplits) {
  EXPECT_EQ(Flat(*ParseKeyValues("%61=%2520&b=c=d&c=&d=+", kQuerySeparators, "replica URL")),
            "[a|%20][b|c=d][c|][d|+]");
}

TEST(KeyValuesTest, NothingGivesNothing) {
  EXPECT_EQ(Flat(*ParseKeyValues("", kOptionSeparators, "options")), "");
  EXPECT_EQ(Flat(*ParseKeyValues(" , ", kOptionSeparators, "options")), "");
}

TEST(KeyValuesTest, ErrorsSayWhereAndNeverTheValue) {
  const struct {
    const char* text;
    const char* message;
  } kCases[] = {
      {"a", "pair 1 in options is not key=value"},
      {"a=1,hunter2", "pair 2 in options is not key=value"},
      {"=hunter2", "pair 1 in options is not key=value"},
      {"a=1,a=hunter2", "option 'a' is given twice in options"},
      {"a=1,%61=hunter2", "option 'a' is given twice in options"},
      {"a=hunter2%", "value of option 'a' in options: wrong percent-encoding at byte 7"},
      {"a=%4", "wrong percent-encoding at byte 0"},
      {"a=hunter2%zz", "wrong percent-encoding at byte 7"},
      {"a%=hunter2", "key 1 in options: wrong percent-encoding"},
      {"a=hunter2%00", "NUL byte"},
  };
  for (const auto& c : kCases) {
    auto pairs = ParseKeyValues(c.text, kOptionSeparators, "options");
    ASSERT_EQ(pairs.code(), StatusCode::kInvalidArgument) << c.text;
    EXPECT_NE(pairs.status().message().find(c.message), std::string::npos)
        << pairs.status().message();
    EXPECT_EQ(pairs.status().message().find("hunter2"), std::string::npos)
        << pairs.status().message();
  }
}

TEST(KeyValuesTest, EncodeAndDecodeAgreeOnEveryByteButNul) {
  std::string all;
  for (int c = 1; c < 256; ++c) {
    all += static_cast<char>(c);
  }
  const std::string encoded = PercentEncode(all);
  EXPECT_EQ(*PercentDecode(encoded), all);
  EXPECT_EQ(Flat(*ParseKeyValues("k=" + encoded, kOptionSeparators, "options")), "[k|" + all + "]");
  EXPECT_EQ(PercentEncode("/var/lib/app.db-s3"), "/var/lib/app.db-s3");
}

TEST(KeyValuesTest, QuotedKeepsMessagesToOneLine) {
  EXPECT_EQ(Quoted("a\nb\x01\xff"), "'a%0Ab%01%FF'");
  EXPECT_EQ(Quoted(std::string(1000, 'x')).size(), 64u + 5u);
}

TEST(KeyValuesTest, SecretKeysAreKnownByTheirNames) {
  for (const char* key : {"secret", "aws_secret_access_key", "AWS-Session-Token", "password", "pwd",
                          "credentials", "S3_ACCESS_KEY_ID", "Authorization"}) {
    EXPECT_TRUE(LooksSecret(key)) << key;
  }
  for (const char* key : {"interval", "intervall", "region", "bucket"}) {
    EXPECT_FALSE(LooksSecret(key)) << key;
  }
}

}  // namespace
}  // namespace sqlite_s3
