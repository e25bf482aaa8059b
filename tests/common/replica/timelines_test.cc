#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/replica/replica.h"
#include "tests/support/status_matchers.h"

namespace sqlite_s3 {
namespace {

using ::testing::HasSubstr;

// Lines as text: "1", "2<1@5!" = line 2 leaves line 1 at TXID 5 and supersedes it.
std::vector<TimelineDocument> Lines(const std::vector<std::string>& texts) {
  std::vector<TimelineDocument> lines;
  for (const std::string& text : texts) {
    TimelineDocument line;
    unsigned id = 0;
    unsigned parent = 0;
    unsigned txid = 0;
    (void)sscanf(text.c_str(), "%u<%u@%u", &id, &parent, &txid);
    line.timeline = {id};
    line.parent = {parent};
    line.parent_txid = {txid};
    line.supersedes_parent = text.ends_with('!');
    lines.push_back(line);
  }
  return lines;
}

std::string AncestryText(const std::vector<TimelineDocument>& lines, uint32_t timeline) {
  auto ancestry = Replica::Ancestry(lines, TimelineId{timeline});
  if (!ancestry.ok()) {
    return ancestry.status().ToString();
  }
  std::string text;
  for (const auto& a : *ancestry) {
    text.append(text.empty() ? "" : " ").append(std::to_string(a.timeline.value)).append(":");
    text.append(std::to_string(a.first.value)).append("-");
    text.append(a.last ? std::to_string(a.last->value) : "");
  }
  return text;
}

TEST(TimelinesTest, LatestIsTheOnlyLineThatNoneSupersedes) {
  const struct {
    std::vector<std::string> lines;
    uint32_t latest;  // 0: several live
  } kCases[] = {
      {{"1"}, 1},
      {{"1", "2<1@5!"}, 2},
      {{"1", "2<1@5!", "3<2@9!"}, 3},
      {{"1", "2<1@5"}, 0},
      {{"1", "2<1@5", "3<1@7!"}, 0},
      {{"1", "2<1@5!", "3<1@7!"}, 0},
      {{"1", "2<1@5!", "3<2@7"}, 0},
  };
  for (const auto& c : kCases) {
    auto latest = Replica::LatestTimeline(Lines(c.lines));
    if (c.latest) {
      ASSERT_OK(latest);
      EXPECT_EQ(latest->value, c.latest) << c.lines.back();
    } else {
      EXPECT_STATUS(latest, StatusCode::kFailedPrecondition) << c.lines.back();
      EXPECT_THAT(latest.status().message(), HasSubstr("--timeline"));
    }
  }
}

TEST(TimelinesTest, AncestryIsWhatALineInherits) {
  const auto lines = Lines({"1", "2<1@5!", "3<2@9!", "4<2@5!", "5<3@4!", "6<5@4!"});
  EXPECT_EQ(AncestryText(lines, 1), "1:1-");
  EXPECT_EQ(AncestryText(lines, 2), "1:1-5 2:6-");
  EXPECT_EQ(AncestryText(lines, 3), "1:1-5 2:6-9 3:10-");
  EXPECT_EQ(AncestryText(lines, 4), "1:1-5 4:6-") << "line 2 was left before its first commit";
  EXPECT_EQ(AncestryText(lines, 5), "1:1-4 5:5-") << "the TXID is one of the parent's parent";
  EXPECT_EQ(AncestryText(lines, 6), "1:1-4 6:5-");
}

TEST(TimelinesTest, AncestryOfAnUnknownLineIsNotFound) {
  EXPECT_STATUS(Replica::Ancestry(Lines({"1"}), TimelineId{3}), StatusCode::kNotFound);
}

TEST(TimelinesTest, ALineThatIsItsOwnAncestorIsRefused) {
  EXPECT_STATUS(Replica::Ancestry(Lines({"1<1@3"}), TimelineId{1}), StatusCode::kCorruption);
  EXPECT_STATUS(Replica::Ancestry(Lines({"1<2@3", "2<1@3"}), TimelineId{2}),
                StatusCode::kCorruption);
}

}  // namespace
}  // namespace sqlite_s3
