#include "coordinator/text/stop_matcher.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

struct Whole {
  std::string text;
  bool stopped = false;
  std::string stop_string;
};

Whole Feed(const std::vector<std::string>& stops,
           const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Whole whole;
  for (const std::string& piece : pieces) {
    const StopMatcher::Output output = matcher.Append(piece);
    whole.text += output.text;
    if (output.stopped) {
      whole.stopped = true;
      whole.stop_string = output.stop_string;
      return whole;
    }
  }
  whole.text += matcher.Finish();
  return whole;
}

TEST(StopMatcherTest, WithoutStopsTextPasses) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Append("abc").text, "abc");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.Append("one\n").text, "one");
  EXPECT_EQ(matcher.Append("\n").text, "");
  EXPECT_EQ(matcher.Append("\n").text, "\n");
  EXPECT_EQ(matcher.Append("Us").text, "");
  EXPECT_EQ(matcher.Append("ually").text, "\n\nUsually");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, FinishGivesWhatWasHeld) {
  StopMatcher matcher({"stop"});
  EXPECT_EQ(matcher.Append("st").text, "");
  EXPECT_EQ(matcher.Finish(), "st");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, EndsBeforeTheStopString) {
  const Whole whole = Feed({"stop"}, {"go s", "to", "p and on"});
  EXPECT_TRUE(whole.stopped);
  EXPECT_EQ(whole.text, "go ");
  EXPECT_EQ(whole.stop_string, "stop");
}

TEST(StopMatcherTest, TheFirstToBeCompleteWins) {
  EXPECT_EQ(Feed({"bcd", "c"}, {"abcd"}).stop_string, "c");
  EXPECT_EQ(Feed({"bcd", "c"}, {"abcd"}).text, "ab");
  EXPECT_EQ(Feed({"later", "now"}, {"now later"}).text, "");
  // Of those that end together the longest.
  EXPECT_EQ(Feed({"c", "bc", "xbc"}, {"abc"}).text, "a");
}

TEST(StopMatcherTest, OverlappingStartsAreFound) {
  EXPECT_EQ(Feed({"aab"}, {"aaab"}).text, "a");
  EXPECT_EQ(Feed({"abab!"}, {"ababab", "!"}).text, "ab");
}

TEST(StopMatcherTest, EmptyStopsNeverMatch) {
  const Whole whole = Feed({""}, {"abc"});
  EXPECT_FALSE(whole.stopped);
  EXPECT_EQ(whole.text, "abc");
}

TEST(StopMatcherTest, NothingComesAfterAStop) {
  StopMatcher matcher({"x"});
  EXPECT_EQ(matcher.Append("axb").text, "a");
  const StopMatcher::Output output = matcher.Append("more");
  EXPECT_TRUE(output.stopped);
  EXPECT_EQ(output.text, "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, NeverCutsACharacter) {
  // "é" and "è" share their first byte.
  StopMatcher matcher({"é!"});
  EXPECT_EQ(matcher.Append("è").text, "è");
  EXPECT_EQ(matcher.Append("é").text, "");
  EXPECT_EQ(matcher.Append("?").text, "é?");
}

// What a search over the whole text says.
Whole Search(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && stop.size() > best.size() &&
          text.compare(end - stop.size(), stop.size(), stop) == 0) {
        best = stop;
      }
    }
    if (!best.empty()) return {text.substr(0, end - best.size()), true, best};
  }
  return {text, false, ""};
}

TEST(StopMatcherTest, CuttingTheTextMakesNoDifference) {
  std::mt19937 random(3);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  const auto word = [&](int longest) {
    std::string text;
    for (int i = draw(1, longest); i > 0; --i) text += "ab"[draw(0, 1)];
    return text;
  };
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> stops;
    for (int i = draw(1, 3); i > 0; --i) stops.push_back(word(7) + "b");
    std::vector<std::string> pieces;
    std::string text;
    for (int i = draw(1, 8); i > 0; --i) pieces.push_back(word(4));
    for (const std::string& piece : pieces) text += piece;
    const Whole expected = Search(stops, text);
    const Whole actual = Feed(stops, pieces);
    EXPECT_EQ(actual.text, expected.text);
    EXPECT_EQ(actual.stopped, expected.stopped);
    EXPECT_EQ(actual.stop_string, expected.stop_string);
  }
}

}  // namespace
}  // namespace caravan::coordinator
