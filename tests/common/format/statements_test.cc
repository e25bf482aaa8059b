// The statements section: what is written is read, and hostile bytes are refused within bounds.
#include "common/format/statements.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "common/format/segment.h"
#include "tests/common/format/format_fixtures.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using namespace format_testing;

StatementValue Integer(int64_t v) {
  StatementValue out;
  out.type = ValueType::kInteger;
  out.integer = v;
  return out;
}
StatementValue Real(double v) {
  StatementValue out;
  out.type = ValueType::kReal;
  out.real = v;
  return out;
}
StatementValue Of(ValueType type, std::string bytes) {
  StatementValue out;
  out.type = type;
  out.bytes = std::move(bytes);
  return out;
}

StatementLog Sample() {
  StatementLog log;
  log.detail = StatementDetail::kValues;
  log.sqlite_build = 0x0102030405060708;
  log.commits.resize(3);
  CommitStatements& commit = log.commits[0];
  commit.state = StatementsState::kRecorded;
  commit.connection = 7;
  commit.settings = kSettingForeignKeys | kSettingSecureDelete;
  commit.last_insert_rowid = -3;
  commit.tag = "request 42";
  LoggedStatement insert;
  insert.sql = "INSERT INTO t VALUES(?,?,?,?,?,?)";
  insert.start_us = kNow;
  insert.changed_rows = 1;
  insert.values = {Integer(std::numeric_limits<int64_t>::min()),
                   Real(0.30000000000000004),
                   Real(-std::numeric_limits<double>::infinity()),
                   Of(ValueType::kText, std::string("a\0b", 3)),
                   Of(ValueType::kBlob, std::string("\x00\xff", 2)),
                   StatementValue()};
  LoggedStatement begin;
  begin.sql = "BEGIN";
  begin.flags = kStatementControl;
  begin.start_us = kNow - 5;  // a clock may go back
  commit.statements = {begin, insert, insert};
  log.commits[2].state = StatementsState::kDisplaced;
  return log;
}

TEST(StatementsTest, WhatIsWrittenIsRead) {
  const StatementLog log = Sample();
  ASSERT_OK_AND_ASSIGN(const Bytes section, EncodeStatements(log, 3));
  ASSERT_OK_AND_ASSIGN(const StatementLog read, ParseStatements(section, 3));
  EXPECT_EQ(read, log);
}

TEST(StatementsTest, ATextIsStoredOnceHoweverOftenItIsExecuted) {
  StatementLog log = Sample();
  const size_t once = EncodeStatements(log, 3)->size();
  for (int i = 0; i < 1000; ++i) {
    log.commits[0].statements.push_back(log.commits[0].statements[0]);
  }
  EXPECT_LT(EncodeStatements(log, 3)->size(), once + 100);
}

TEST(StatementsTest, MoreThanAChunkIsRead) {
  StatementLog log = Sample();
  std::mt19937_64 random(1);
  Bytes blob = RandomPage(random, 3 << 20);
  log.commits[0].statements[1].values[4].bytes = AsText(blob);
  ASSERT_OK_AND_ASSIGN(const Bytes section, EncodeStatements(log, 1));
  ASSERT_OK_AND_ASSIGN(const StatementLog read, ParseStatements(section, 3));
  EXPECT_EQ(read, log);
}

TEST(StatementsTest, TooMuchIsNotWritten) {
  StatementLog log = Sample();
  log.commits[0].statements[1].values[4].bytes.assign(kMaxStatementBytes, 'x');
  EXPECT_STATUS(EncodeStatements(log, 1), StatusCode::kResourceExhausted);
  log = Sample();
  log.commits[0].tag.assign(kMaxTagBytes + 1, 'x');
  EXPECT_STATUS(EncodeStatements(log, 1), StatusCode::kInvalidArgument);
}

TEST(StatementsTest, AnotherNumberOfCommitsIsCorruption) {
  ASSERT_OK_AND_ASSIGN(const Bytes section, EncodeStatements(Sample(), 3));
  EXPECT_STATUS(ParseStatements(section, 2), StatusCode::kCorruption);
  EXPECT_STATUS(ParseStatements(section, 4), StatusCode::kCorruption);
  EXPECT_STATUS(ParseStatements(section, 0xffffffff), StatusCode::kCorruption);
}

TEST(StatementsTest, ANewerVersionIsRefusedByName) {
  ASSERT_OK_AND_ASSIGN(Bytes section, EncodeStatements(Sample(), 3));
  section[0] = 2;
  EXPECT_STATUS(ParseStatements(section, 3), StatusCode::kUnimplemented);
}

TEST(StatementsTest, EveryTruncationAndMostBitFlipsAreRefusedAndNoneCrashes) {
  ASSERT_OK_AND_ASSIGN(const Bytes section, EncodeStatements(Sample(), 3));
  for (size_t size = 0; size < section.size(); ++size) {
    EXPECT_FALSE(ParseStatements(ByteSpan(section).first(size), 3).ok()) << size;
  }
  for (size_t bit = 0; bit < section.size() * 8; ++bit) {
    Bytes damaged = section;
    damaged[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    (void)ParseStatements(damaged, 3);  // may be another valid log
  }
}

// The raw form by hand: what the writer never writes.
Bytes Section(const Bytes& raw) {
  Bytes section;
  ByteWriter out(section);
  out.U8(1);
  out.U8(2);
  out.U64(0);
  out.Varint(raw.size());
  ChunkEncoder encoder(3);
  EXPECT_OK(encoder.Append(raw, {}, section));
  return section;
}

TEST(StatementsTest, ImpossibleCountsTakeNoMemory) {
  const Bytes many_texts = {0xff, 0xff, 0xff, 0xff, 0x0f};
  const Bytes many_statements = {0, 1, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f};
  const Bytes many_values = {0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f};
  for (const Bytes& raw : {many_texts, many_statements, many_values}) {
    EXPECT_STATUS(ParseStatements(Section(raw), 1), StatusCode::kCorruption);
  }
}

TEST(StatementsTest, ASectionThatClaimsMoreThanItHoldsTakesNoMemory) {
  Bytes section = Section({0, 0});
  Bytes head(section.begin(), section.begin() + 10);
  ByteWriter(head).Varint(kMaxStatementBytes);
  head.insert(head.end(), section.begin() + 11, section.end());
  EXPECT_STATUS(ParseStatements(head, 1), StatusCode::kCorruption);
}

TEST(StatementsTest, OneTextNamedByMillionsOfStatementsIsBounded) {
  Bytes raw;
  ByteWriter out(raw);
  out.Varint(1);
  const std::string text(100'000, 'x');
  out.Varint(text.size());
  out.Raw(AsBytes(text));
  out.U8(1);
  out.Varint(1);
  out.Varint(0);
  out.Varint(0);
  out.Varint(100'000);
  for (int i = 0; i < 100'000; ++i) {
    out.Raw(Bytes{0, 1, 0, 0, 0});
  }
  EXPECT_STATUS(ParseStatements(Section(raw), 1), StatusCode::kCorruption);
}

TEST(StatementsTest, ASegmentCarriesThemAndItsTableDoesNotNeedThem) {
  ASSERT_OK_AND_ASSIGN(const Bytes section, EncodeStatements(Sample(), 3));
  SegmentBuilder builder(SampleHeader());
  for (int i = 0; i < 3; ++i) {
    const CommitRecord commit = SampleCommit({1}, 3, i);
    ASSERT_OK(builder.Add(commit, FilledChunks(commit, 512)));
  }
  ASSERT_OK_AND_ASSIGN(const auto finished, builder.Finish({}, section));
  ASSERT_OK_AND_ASSIGN(const Segment segment,
                       ParseSegment(finished.bytes, "00000001/log/0000000000000002.seg"));
  EXPECT_TRUE(std::equal(segment.statements.begin(), segment.statements.end(), section.begin(),
                         section.end()));
  ASSERT_OK_AND_ASSIGN(const Segment table,
                       ParseSegmentTable(finished.bytes, "00000001/log/0000000000000002.seg"));
  EXPECT_EQ(table.commits, segment.commits);
  EXPECT_TRUE(table.statements.empty());
}

// Version 1 as written once: raw bytes by hand, and the golden file read for ever.
TEST(StatementsTest, TheReaderReadsTheGoldenSection) {
  if (std::getenv("SQLITE_S3_UPDATE_GOLDEN") != nullptr) {
    WriteGolden("statements_v1.bin", *EncodeStatements(Sample(), 3));
  }
  ASSERT_OK_AND_ASSIGN(const StatementLog read,
                       ParseStatements(ReadGolden("statements_v1.bin"), 3));
  EXPECT_EQ(read, Sample());
}

TEST(StatementsTest, TheRawLayoutIsThatOfTheSpecification) {
  Bytes raw;
  ByteWriter out(raw);
  out.Varint(2);
  out.Varint(1);
  out.U8('T');
  out.Varint(6);
  out.Raw(AsBytes("DELETE"));
  out.U8(0x81);           // recorded, with a rowid
  out.Varint(9);          // connection
  out.Varint(1);          // foreign keys
  out.SignedVarint(-1);   // rowid
  out.Varint(1);          // tag T
  out.Varint(1);          // one statement
  out.U8(8);              // unrepeatable
  out.Varint(2);          // DELETE
  out.SignedVarint(100);  // time
  out.Varint(3);          // rows
  out.Varint(1);          // one value
  out.U8(1);
  out.SignedVarint(-2);
  out.U8(0);  // the second commit told nothing
  ASSERT_OK_AND_ASSIGN(const StatementLog log, ParseStatements(Section(raw), 2));
  const CommitStatements& commit = log.commits[0];
  EXPECT_EQ(commit.connection, 9u);
  EXPECT_EQ(commit.settings, kSettingForeignKeys);
  EXPECT_EQ(commit.last_insert_rowid, -1);
  EXPECT_EQ(commit.tag, "T");
  ASSERT_EQ(commit.statements.size(), 1u);
  EXPECT_EQ(commit.statements[0].flags, kStatementUnrepeatable);
  EXPECT_EQ(commit.statements[0].sql, "DELETE");
  EXPECT_EQ(commit.statements[0].start_us, 100);
  EXPECT_EQ(commit.statements[0].changed_rows, 3u);
  EXPECT_EQ(commit.statements[0].values, std::vector<StatementValue>{Integer(-2)});
  EXPECT_EQ(log.commits[1].state, StatementsState::kNone);
}

}  // namespace
}  // namespace sqlite_s3
