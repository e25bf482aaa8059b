#include "common/base/toml_text.h"

#include <gtest/gtest.h>

namespace sqlite_s3 {
namespace {

TEST(TomlTextTest, StringsAndCommentsMayHoldAnyCharacter) {
  EXPECT_EQ(LineOfMisplacedCharacter("\xEF\xBB\xBF# \u00e9\na = \"\u00e9\\\"\u00e9\" # \u027d\n"
                                     "b = '\u00e9\\'\n"
                                     "c = \"\"\"\u00e9\n\"\"\u00e9\"\"\"\"\"\n"
                                     "d = '''\u00e9\n''\u00e9'''''\n"),
            std::nullopt);
}

TEST(TomlTextTest, AnythingElseMayNot) {
  EXPECT_EQ(LineOfMisplacedCharacter("M\u027d"), 1U);
  EXPECT_EQ(LineOfMisplacedCharacter("a = 1\nb = 2\u00e9\n"), 2U);
  EXPECT_EQ(LineOfMisplacedCharacter("a = \"\"\"\n\n\"\"\"\u00a1"), 3U);
  EXPECT_EQ(LineOfMisplacedCharacter("a = 'x'\n\u00e9 = 1"), 2U);
}

// There a parser looks for white space.
TEST(TomlTextTest, NorWhatFollowsABackslashInAStringOfLines) {
  EXPECT_EQ(LineOfMisplacedCharacter("a = \"\"\"x\\\n  \u00e9\"\"\""), 2U);
  EXPECT_EQ(LineOfMisplacedCharacter("a = \"\"\"\\\u00e9\"\"\""), 1U);
  EXPECT_EQ(LineOfMisplacedCharacter("a = \"\"\"\\\\\u00e9\"\"\""), std::nullopt);
}

// What is not closed is the parser's to say.
TEST(TomlTextTest, EndsWithTheText) {
  for (const char* text : {"a = \"", "a = \"\\", "a = \"\"\"\\", "a = \"\"\"\\ ", "a = '''", "#"}) {
    EXPECT_EQ(LineOfMisplacedCharacter(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace sqlite_s3
