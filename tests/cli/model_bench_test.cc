#include "cli/model_bench.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/coordinator/api/api_test_server.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::ApiServerTest;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

SpeedTest Prefill(int64_t num_tokens) { return {.num_tokens = num_tokens}; }
SpeedTest Decode(int64_t num_tokens, int num_streams, int64_t depth = 0) {
  return {.kind = SpeedTest::Kind::kDecode,
          .num_tokens = num_tokens,
          .depth = depth,
          .num_streams = num_streams};
}

class ModelBenchTest : public ApiServerTest {
 protected:
  // Steps take so long that streams meet on a busy machine as well.
  explicit ModelBenchTest(int64_t max_sequences = 256)
      : ApiServerTest({.max_sequences = max_sequences,
                       .per_step = absl::Milliseconds(2)}) {}

  absl::StatusOr<std::vector<SpeedResult>> Measure(
      const ModelBenchOptions& options) {
    StartServer();
    HttpClient::Options client;
    client.server = {"127.0.0.1", absl::StrCat(port()), ""};
    return RunModelBench(HttpClient(client), options);
  }
};

TEST(SpeedTestTest, HasLlamaBenchsNames) {
  EXPECT_EQ(Name(Prefill(512)), "pp512");
  EXPECT_EQ(Name(Decode(128, 1)), "tg128");
  EXPECT_EQ(Name(Decode(128, 16)), "tg128 x16");
  EXPECT_EQ(Name(Decode(128, 16, 512)), "tg128 @ d512 x16");
}

TEST_F(ModelBenchTest, RunsEveryTestSoOften) {
  std::vector<std::string> progress;
  int num_limits = 0;
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<SpeedResult> results,
      Measure({.tests = {Prefill(100), Decode(50, 1), Decode(50, 4, 30)},
               .repetitions = 2,
               .limit = [&](const SpeedTest&) { return 1.0 + num_limits++; },
               .on_progress =
                   [&](absl::string_view what) {
                     progress.push_back(std::string(what));
                   }}));
  ASSERT_EQ(results.size(), 3u);
  for (const SpeedResult& result : results) {
    const size_t num_streams = static_cast<size_t>(result.test.num_streams);
    const bool decodes = result.test.kind == SpeedTest::Kind::kDecode;
    ASSERT_EQ(result.runs.size(), 2u);
    for (const SpeedRun& run : result.runs) {
      EXPECT_GT(run.tokens_per_second, 0);
      EXPECT_EQ(run.first_tokens.size(), num_streams);
      EXPECT_EQ(run.gaps.size(), decodes ? num_streams * 49 : 0);
    }
  }
  EXPECT_THAT(
      progress,
      ElementsAre("warm-up: pp100", "warm-up: tg50", "warm-up: tg50 @ d30 x4",
                  "repetition 1 of 2: pp100", "repetition 1 of 2: tg50",
                  "repetition 1 of 2: tg50 @ d30 x4",
                  "repetition 2 of 2: pp100", "repetition 2 of 2: tg50",
                  "repetition 2 of 2: tg50 @ d30 x4"));
  // Before and after each; the better one counts.
  EXPECT_EQ(num_limits, 18);
  EXPECT_EQ(results[0].runs[0].limit, 8);
}

TEST_F(ModelBenchTest, ErrorsNameTheTest) {
  EXPECT_THAT(Measure({.tests = {Decode(4, 2, 5000)}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("tg4 @ d5000 x2"),
                             HasSubstr("maximum context length"))));
}

TEST_F(ModelBenchTest, EndsWhenTheMachineCannotBeMeasured) {
  EXPECT_THAT(Measure({.tests = {Prefill(4)},
                       .limit = [](const SpeedTest&) -> absl::StatusOr<double> {
                         return absl::ResourceExhaustedError("no memory");
                       }}),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

class OneAtATimeTest : public ModelBenchTest {
 protected:
  OneAtATimeTest() : ModelBenchTest(/*max_sequences=*/1) {}
};

TEST_F(OneAtATimeTest, RefusesStreamsThatDoNotMeet) {
  EXPECT_THAT(
      Measure({.tests = {Decode(8, 2)}}),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("tg8 x2"), HasSubstr("--max-num-seqs"))));
}

}  // namespace
}  // namespace caravan::cli
