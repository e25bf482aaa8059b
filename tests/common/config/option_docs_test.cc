// docs/OPERATIONS.md says what the table of options says, word for word.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "common/config/option_table.h"

namespace sqlite_s3 {
namespace {

TEST(OptionDocsTest, OperationsListsExactlyTheOptionsOfTheTable) {
  std::ifstream file(SQLITE_S3_OPERATIONS_MD);
  ASSERT_TRUE(file) << SQLITE_S3_OPERATIONS_MD;
  std::stringstream text;
  text << file.rdbuf();
  const std::string docs = text.str();
  const std::string begin = "<!-- options: begin -->\n";
  const std::string end = "<!-- options: end -->\n";
  const size_t from = docs.find(begin);
  const size_t to = docs.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  const std::string expected =
      "| option | values | default | meaning |\n|---|---|---|---|\n" + FormatOptionTable();
  EXPECT_EQ(docs.substr(from + begin.size(), to - from - begin.size()), expected)
      << "put this between the marks of docs/OPERATIONS.md:\n"
      << expected;
}

}  // namespace
}  // namespace sqlite_s3
