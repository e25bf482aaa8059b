#include "restore/rows/value.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "restore/rows/query.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

Value Real(double real) {
  Value value;
  value.type = Value::Type::kReal;
  value.real = real;
  return value;
}
Value Text(std::string bytes) {
  Value value;
  value.type = Value::Type::kText;
  value.bytes = std::move(bytes);
  return value;
}

class SqlLiteralTest : public ::testing::Test {
 protected:
  // What SQLite makes of the literal: type and bytes.
  std::string Back(const std::string& literal) {
    Query query(db_.get(),
                "SELECT typeof(v), CAST(v AS BLOB), v FROM (SELECT " + literal + " AS v)");
    EXPECT_TRUE(query.Next()) << literal;
    real_ = sqlite3_column_double(query.get(), 2);
    return query.Text(0) + ":" + query.Blob(1);
  }
  Connection db_ = std::move(*Connection::Open(":memory:", SQLITE_OPEN_READWRITE, "", 0));
  double real_ = 0;
};

TEST_F(SqlLiteralTest, DoublesComeBackBitForBit) {
  std::mt19937_64 random(1);
  std::vector<double> doubles{0.0,
                              -0.0,
                              0.1,
                              0.30000000000000004,
                              1e15,
                              123456789012345678.0,
                              std::numeric_limits<double>::max(),
                              std::numeric_limits<double>::min(),
                              std::numeric_limits<double>::denorm_min(),
                              std::numeric_limits<double>::infinity(),
                              -std::numeric_limits<double>::infinity()};
  for (int i = 0; i < 20'000; ++i) {
    const auto any = std::bit_cast<double>(random());
    if (std::isfinite(any)) {
      doubles.push_back(any);
    }
  }
  for (const double d : doubles) {
    const std::string literal = SqlLiteral(Real(d), TextEncoding::kUtf8);
    EXPECT_TRUE(Back(literal).starts_with("real:")) << literal;
    EXPECT_EQ(std::bit_cast<uint64_t>(real_), std::bit_cast<uint64_t>(d)) << literal;
  }
}

TEST_F(SqlLiteralTest, IntegersComeBackAlsoTheSmallest) {
  for (const int64_t i : {int64_t{0}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(Back(SqlLiteral(Value::Integer(i), TextEncoding::kUtf8)),
              "integer:" + std::to_string(i));
  }
}

TEST_F(SqlLiteralTest, TextComesBackWhateverItsBytes) {
  for (const std::string& text :
       {std::string("it's"), std::string("a\0b", 3), std::string("\xff\xfe"),
        std::string("\x1b[2J"), std::string("line\nnext\ttab"),
        std::string("\xe2\x80\xae reversed"), std::string()}) {
    const std::string literal = SqlLiteral(Text(text), TextEncoding::kUtf8);
    EXPECT_EQ(Back(literal), "text:" + text);
    EXPECT_EQ(literal.find('\x1b'), std::string::npos);
  }
}

TEST_F(SqlLiteralTest, Utf16IsShownAsUtf8OrAsItsBytes) {
  EXPECT_EQ(SqlLiteral(Text(std::string("a\0\xac\x20", 4)), TextEncoding::kUtf16Le),
            "'a\xe2\x82\xac'");
  EXPECT_EQ(SqlLiteral(Text(std::string("\xd8\x3d\xdc\x18", 4)), TextEncoding::kUtf16Be),
            "'\xf0\x9f\x90\x98'");
  EXPECT_EQ(SqlLiteral(Text(std::string("\x3d\xd8", 2)), TextEncoding::kUtf16Le),
            "CAST(x'3dd8' AS TEXT)")
      << "half a pair";
  EXPECT_EQ(SqlLiteral(Text("a"), TextEncoding::kUtf16Le), "CAST(x'61' AS TEXT)");
}

TEST(DecodeRecordTest, ReadsEverySerialType) {
  auto values = DecodeRecord(HexDecode("06000108090f0541").value());
  ASSERT_OK(values);
  ASSERT_EQ(values->size(), 5u);
  EXPECT_EQ((*values)[0].type, Value::Type::kNull);
  EXPECT_EQ((*values)[1], Value::Integer(5));
  EXPECT_EQ((*values)[2], Value::Integer(0));
  EXPECT_EQ((*values)[3], Value::Integer(1));
  EXPECT_EQ((*values)[4], Text("A"));
  values = DecodeRecord(HexDecode("0207fff8000000000000").value());
  ASSERT_OK(values);
  EXPECT_EQ((*values)[0].type, Value::Type::kNull) << "a NaN";
  values = DecodeRecord(HexDecode("020180").value());
  ASSERT_OK(values);
  EXPECT_EQ((*values)[0], Value::Integer(-128));
}

TEST(DecodeRecordTest, RefusesWhatIsNotWhole) {
  for (const char* record : {"", "05", "03010a0000", "020a", "02ff", "0302", "020e",
                             "ffffffffffffffffff", "81", "02ffffffffffffffffff7f"}) {
    auto values = DecodeRecord(HexDecode(record).value());
    EXPECT_EQ(values.code(), StatusCode::kCorruption) << record;
  }
}

}  // namespace
}  // namespace sqlite_s3
