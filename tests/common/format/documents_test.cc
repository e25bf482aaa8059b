#include "common/format/documents.h"

#include <gtest/gtest.h>

#include <functional>

#include "common/base/time.h"
#include "common/format/keys.h"
#include "tests/common/format/document_samples.h"
#include "tests/common/format/format_fixtures.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

// One of each kind, with its parser behind one signature.
struct Kind {
  const char* name;
  std::string text;
  std::function<Status(std::string_view text, std::string_view key)> parse;
};

std::vector<Kind> Kinds() {
  return {{"replica", FormatReplicaDocument(SampleReplica()),
           [](auto t, auto k) { return ParseReplicaDocument(t, k).status(); }},
          {"timeline", FormatTimelineDocument(SampleTimeline()),
           [](auto t, auto k) { return ParseTimelineDocument(t, k).status(); }},
          {"mark", FormatMarkDocument(SampleMark()),
           [](auto t, auto k) { return ParseMarkDocument(t, k).status(); }},
          {"image", FormatImageManifest(SampleManifest()),
           [](auto t, auto k) { return ParseImageManifest(t, k).status(); }}};
}

// Replaces `from` and puts the right digest at the end again.
std::string Edited(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  if (at != std::string::npos) {
    text.replace(at, from.size(), to);
  }
  return ResealedDocument(text);
}

TEST(DocumentsTest, EveryDocumentRoundTrips) {
  auto replica = ParseReplicaDocument(FormatReplicaDocument(SampleReplica()), "k");
  ASSERT_TRUE(replica.ok()) << replica.status().ToString();
  EXPECT_EQ(*replica, SampleReplica());
  auto mark = ParseMarkDocument(FormatMarkDocument(SampleMark()), "k");
  ASSERT_TRUE(mark.ok()) << mark.status().ToString();
  EXPECT_EQ(*mark, SampleMark());
  auto manifest = ParseImageManifest(FormatImageManifest(SampleManifest()), "k");
  ASSERT_TRUE(manifest.ok()) << manifest.status().ToString();
  EXPECT_EQ(*manifest, SampleManifest());
  for (TimelineReason reason : {TimelineReason::kFirst, TimelineReason::kDiskBehindBucket,
                                TimelineReason::kFork, TimelineReason::kRestored}) {
    TimelineDocument d = SampleTimeline();
    d.reason = reason;
    if (reason == TimelineReason::kFirst) {
      d.parent = {};
      d.parent_txid = {};
    }
    auto timeline = ParseTimelineDocument(FormatTimelineDocument(d), "k");
    ASSERT_TRUE(timeline.ok()) << timeline.status().ToString();
    EXPECT_EQ(*timeline, d);
  }
}

TEST(DocumentsTest, ErrorsNameTheKeyAndTheField) {
  std::string bad = Edited(FormatReplicaDocument(SampleReplica()), "4096", "4097");
  Status s = ParseReplicaDocument(bad, "replica.json").status();
  EXPECT_EQ(s.code(), StatusCode::kCorruption);
  EXPECT_TRUE(s.message().starts_with("replica.json: page_size: ")) << s.message();
}

TEST(DocumentsTest, EveryTruncationIsCorruption) {
  for (const Kind& kind : Kinds()) {
    for (size_t n = 0; n < kind.text.size(); ++n) {
      EXPECT_EQ(kind.parse(kind.text.substr(0, n), "k").code(), StatusCode::kCorruption)
          << kind.name << " " << n;
    }
  }
}

TEST(DocumentsTest, EveryFlippedBitIsFound) {
  for (const Kind& kind : Kinds()) {
    for (size_t bit = 0; bit < kind.text.size() * 8; ++bit) {
      std::string damaged = kind.text;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
      Status s = kind.parse(damaged, "k");
      EXPECT_TRUE(s.code() == StatusCode::kCorruption || s.code() == StatusCode::kUnimplemented)
          << kind.name << " bit " << bit << ": " << s.ToString();
    }
  }
}

TEST(DocumentsTest, AppendedBytesAreCorruption) {
  for (const Kind& kind : Kinds()) {
    for (const char* more : {" ", "\n", "x", "{}"}) {
      EXPECT_EQ(kind.parse(kind.text + more, "k").code(), StatusCode::kCorruption);
    }
  }
}

TEST(DocumentsTest, UnknownFieldsAreIgnored) {
  for (const Kind& kind : Kinds()) {
    std::string more = Edited(kind.text, "\"kind\"",
                              "\"colour\": {\"of\": [\"a\", 1.5, null, \"}\\\"{\"]},\n  \"kind\"");
    EXPECT_TRUE(kind.parse(more, "k").ok()) << kind.parse(more, "k").ToString();
  }
}

TEST(DocumentsTest, ANewerFormatIsNamedWithAHint) {
  for (const Kind& kind : Kinds()) {
    Status s = kind.parse("{\"format\": 2}", "some/key");
    EXPECT_EQ(s.code(), StatusCode::kUnimplemented);
    EXPECT_NE(s.message().find("some/key: document of format version 2"), std::string::npos);
    EXPECT_NE(s.message().find("hint: "), std::string::npos);
  }
}

TEST(DocumentsTest, OneKindIsNotTakenForAnother) {
  for (const Kind& kind : Kinds()) {
    for (const Kind& other : Kinds()) {
      EXPECT_EQ(kind.parse(other.text, "k").ok(), kind.text == other.text);
    }
  }
}

TEST(DocumentsTest, WhatIsNotADocumentIsCorruption) {
  for (const Kind& kind : Kinds()) {
    for (const char* text :
         {"", " ", "null", "1", "\"x\"", "[]", "{}", "{", "}", "[{}]", "{\"format\": 0}",
          "{\"format\": -1}", "{\"format\": 1.0}", "{\"format\": \"1\"}", "{\"format\": null}",
          "{\"format\": 1}", "{\"format\": 1, \"kind\": 7}", "\xff\xfe", "{\"a\": \"\xff\"}"}) {
      EXPECT_EQ(kind.parse(text, "k").code(), StatusCode::kCorruption) << text;
    }
  }
}

TEST(DocumentsTest, DepthAndSizeAreBounded) {
  for (const Kind& kind : Kinds()) {
    std::string deep(1'000'000, '[');
    EXPECT_EQ(kind.parse(deep, "k").code(), StatusCode::kCorruption);
    std::string objects;
    for (int i = 0; i < 100'000; ++i) {
      objects += "{\"a\":";
    }
    EXPECT_EQ(kind.parse(objects, "k").code(), StatusCode::kCorruption);
    std::string large(kMaxDocumentBytes + 1, ' ');
    EXPECT_EQ(kind.parse(large, "k").code(), StatusCode::kCorruption);
    std::string brackets =
        Edited(kind.text, "\"kind\"", "\"x\": \"" + std::string(100, '[') + "\",\n  \"kind\"");
    EXPECT_TRUE(kind.parse(brackets, "k").ok()) << "brackets in a string are no depth";
  }
}

TEST(DocumentsTest, ManyFieldsTakeNoLongerThanTheirNumber) {
  std::string text = "{\"format\": 1";
  for (int i = 0; i < 200'000; ++i) {
    text += ",\"" + std::to_string(i) + "\":0";
  }
  EXPECT_EQ(ParseMarkDocument(text + "}", "k").code(), StatusCode::kCorruption);
}

struct Edit {
  const char* from;
  const char* to;
};

void ExpectRefused(const Kind& kind, const std::vector<Edit>& edits) {
  for (const Edit& e : edits) {
    Status s = kind.parse(Edited(kind.text, e.from, e.to), "k");
    EXPECT_EQ(s.code(), StatusCode::kCorruption) << kind.name << ": " << e.from << " -> " << e.to;
  }
}

TEST(DocumentsTest, ReplicaFieldsAreChecked) {
  ExpectRefused(Kinds()[0], {{"\"page_size\": 4096", "\"page_size\": 0"},
                             {"\"page_size\": 4096", "\"page_size\": 4294971392"},
                             {"\"page_size\": 4096", "\"page_size\": \"4096\""},
                             {"\"page_size\": 4096", "\"page_size\": 4096.0"},
                             {"\"page_size\": 4096", "\"page_size\": -4096"},
                             {"\"page_size\"", "\"page_sizes\""},
                             {"\"checksum_key\": \"", "\"checksum_key\": \"00"},
                             {"\"checksum_key\": \"0", "\"checksum_key\": \"x"},
                             {"\"database_id\": \"d", "\"database_id\": \""},
                             {".000000Z", "Z"}});
}

TEST(DocumentsTest, ABadChecksumKeyIsNotPrinted) {
  std::string bad = Edited(FormatReplicaDocument(SampleReplica()), "\"checksum_key\": \"0",
                           "\"checksum_key\": \"secret");
  EXPECT_EQ(ParseReplicaDocument(bad, "k").status().message().find("secret"), std::string::npos);
}

TEST(DocumentsTest, TimelineFieldsAreChecked) {
  ExpectRefused(Kinds()[1], {{"\"timeline\": \"00000002\"", "\"timeline\": \"00000000\""},
                             {"\"timeline\": \"00000002\"", "\"timeline\": 2"},
                             {"\"parent\": \"00000001\"", "\"parent\": \"00000002\""},
                             {"\"parent\": \"00000001\"", "\"parent\": \"00000003\""},
                             {"\"parent\": \"00000001\"", "\"parent\": \"00000000\""},
                             {"disk-behind-bucket", "first"},
                             {"disk-behind-bucket", "whim"},
                             {"\"supersedes_parent\": true", "\"supersedes_parent\": 1"},
                             {"\"writer\": \"", "\"writer\": \"0"}});
  std::string text = FormatTimelineDocument(SampleTimeline());
  EXPECT_TRUE(ParseTimelineDocument(text, keys::TimelineFile({2})).ok());
  EXPECT_EQ(ParseTimelineDocument(text, keys::TimelineFile({3})).code(), StatusCode::kCorruption);
}

TEST(DocumentsTest, MarkFieldsAreChecked) {
  ExpectRefused(Kinds()[2], {{"before-v2", "../etc"},
                             {"before-v2", ""},
                             {"\"timeline\": \"00000002\"", "\"timeline\": \"00000000\""},
                             {"\"txid\": \"00000000000000ff\"", "\"txid\": \"0000000000000000\""},
                             {"\"txid\": \"00000000000000ff\"", "\"txid\": \"00000000000000FF\""},
                             {"\"txid\": \"00000000000000ff\"", "\"txid\": 255"}});
  std::string text = FormatMarkDocument(SampleMark());
  EXPECT_TRUE(ParseMarkDocument(text, keys::Mark("before-v2")).ok());
  EXPECT_EQ(ParseMarkDocument(text, keys::Mark("other")).code(), StatusCode::kCorruption);
}

TEST(DocumentsTest, ManifestFieldsAreChecked) {
  ExpectRefused(Kinds()[3], {{"\"page_count\": 1000", "\"page_count\": 0"},
                             {"\"page_count\": 1000", "\"page_count\": 1001"},
                             {"\"page_count\": 1000", "\"page_count\": 4294967295"},
                             {"\"page_size\": 4096", "\"page_size\": 100"},
                             {"\"pages\": 400", "\"pages\": 401"},
                             {"\"pages\": 400", "\"pages\": 0"},
                             {"\"number\": 1", "\"number\": 0"},
                             {"\"size\": 5000", "\"size\": 0"},
                             {"\"size\": 5000", "\"size\": 5000000000"},
                             {"\"parts\": [", "\"parts\": [7, "},
                             {"\"parts\": [", "\"x\": ["},
                             {"\"hashes_size\": 8000", "\"hashes_size\": 8008"},
                             {"\"db_checksum\": \"", "\"db_checksum\": \"0"},
                             {"\"nonce\": \"", "\"nonce\": \"0x"}});
  std::string text = FormatImageManifest(SampleManifest());
  EXPECT_TRUE(ParseImageManifest(text, keys::ImageManifest({2}, {0xff})).ok());
  EXPECT_EQ(ParseImageManifest(text, keys::ImageManifest({2}, {0xfe})).code(),
            StatusCode::kCorruption);
}

TEST(DocumentsTest, AnImageBeyondTheLockBytePageHasOnePageLess) {
  ImageManifest m = SampleManifest();
  m.page_size = 65536;
  m.page_count = LockBytePage(65536);
  m.hashes_size_bytes = uint64_t{m.page_count} * 8;
  m.parts = {{0, 100, DigestOf(1), m.page_count - 1}};
  EXPECT_TRUE(ParseImageManifest(FormatImageManifest(m), "k").ok());
  m.parts[0].page_count = m.page_count;
  EXPECT_FALSE(ParseImageManifest(FormatImageManifest(m), "k").ok());
}

TEST(DocumentsTest, FormattingNeverThrows) {
  MarkDocument mark = SampleMark();
  mark.name = "\xff\xfe\"\n";
  EXPECT_EQ(ParseMarkDocument(FormatMarkDocument(mark), "k").code(), StatusCode::kCorruption);
}

}  // namespace
}  // namespace sqlite_s3
